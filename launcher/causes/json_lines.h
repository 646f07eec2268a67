#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace megalaunch {

/// A log whose lines are JSON objects that carry the real ones, as container runtimes and log
/// stores write them ({"log":"text\n","stream":"stderr","time":"..."}), as the text that was
/// written. Line numbers stay the same. Nothing when the log is not of this form.
std::optional<std::string> unwrap_json_lines(std::string_view log);

}  // namespace megalaunch
