#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace megalaunch {

/// A log that was copied from a terminal, whose long lines the terminal broke at its width, with
/// these lines whole again. Later lines keep their numbers. Nothing when the log is not of this
/// form: no line is longer than those that are broken, and some are broken within a word.
std::optional<std::string> join_wrapped_lines(std::string_view log);

}  // namespace megalaunch
