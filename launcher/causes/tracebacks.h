#pragma once

#include <cstddef>
#include <optional>
#include <string_view>
#include <vector>

namespace megalaunch {

/// Follows the log of one rank line by line through its Python tracebacks.
class Tracebacks {
 public:
  enum class Part {
    kOutside,
    kQuoted,     ///< from the program's source: code, not a message ("raise RuntimeError('CUDA out
                 ///< of memory')" is in the source whatever was raised)
    kException,  ///< what was raised
  };

  /// What the next line is. Exceptions that Python ignores (a finalizer's) count as quoted.
  Part read(std::string_view text);

  /// After a line that is an exception: the lines of its frames ("File "x.py", line 7, in f" or
  /// rich's "/x.py:7 in f"), the outermost first. They point into the log.
  const std::vector<std::string_view>& frames() const { return frames_; }

  /// The log has ended within a traceback of the program's own. Gives the name of what its last
  /// line raises ("AttributeError" of "raise AttributeError", AssertionError of "assert x"); empty:
  /// not known. One that does not say and that another exception led to is none: that one tells
  /// more.
  std::optional<std::string_view> cut_off() const;

 private:
  Part read_line(std::string_view text);

  static constexpr size_t kNone = std::string_view::npos;
  static constexpr size_t kMaxFrames = 256;
  std::vector<std::string_view> frames_;
  std::string_view last_;  ///< the last line read
  std::string_view code_;  ///< the last line of code within a frame, without its indentation
  bool complete_ = false;  ///< the frames' exception has been read
  bool chained_ = false;   ///< behind an exception that led to the next one
  size_t frame_ = kNone;   ///< indentation of the last frame's "File ..." line
  bool behind_frame_ = false;
  bool ignored_ = false;  ///< the next exception is one that Python ignores
};

}  // namespace megalaunch
