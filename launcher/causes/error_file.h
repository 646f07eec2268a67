#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "env/clock.h"
#include "env/result.h"

namespace megalaunch {

/// What torch's @record decorator leaves in TORCHELASTIC_ERROR_FILE when an exception escapes a
/// rank's main function.
struct ErrorFile {
  static constexpr size_t kMaxSize = 1024 * 1024;  ///< a larger file is refused
  static constexpr size_t kMaxText = 64 * 1024;    ///< longer texts are cut in the middle

  std::string message;       ///< "ValueError: text"
  std::string py_callstack;  ///< the traceback; may be empty
  std::optional<WallTime>
      timestamp;       ///< when the exception escaped, in whole seconds on the rank's node
  std::string path{};  ///< where it lies on the rank's node; empty when nobody said

  bool operator==(const ErrorFile&) const = default;
};

/// Reads the text of an error.json in both of torch's forms (`message` an object or a plain
/// string).
Result<ErrorFile> parse_error_file(std::string_view text);

}  // namespace megalaunch
