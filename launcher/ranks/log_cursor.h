#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string_view>

#include "env/result.h"
#include "env/unique_fd.h"

namespace megalaunch {

/// A place in a growing log file that moves over whole lines. Holds no text: a line that is not
/// complete yet stays in the file and is read again. Lines longer than kPiece come in pieces, cut
/// between UTF-8 characters.
class LogCursor {
 public:
  static constexpr size_t kPiece = 64 * 1024;

  /// Starts at the beginning of `path`, which must exist.
  static Result<LogCursor> open(const std::filesystem::path& path);

  /// Gives `sink` the next complete lines, one string per call, each with its newline (a piece of
  /// an overlong line has none), at most about kPiece bytes in all. Returns the number of bytes
  /// passed over; 0 at the end. With `at_end`, a last line without newline is given too.
  size_t read(const std::function<void(std::string_view line)>& sink, bool at_end);

  /// Bytes of the file behind this place.
  uint64_t left() const;
  uint64_t offset() const { return offset_; }

 private:
  explicit LogCursor(UniqueFd file) : file_(std::move(file)) {}

  UniqueFd file_;
  uint64_t offset_ = 0;
};

}  // namespace megalaunch
