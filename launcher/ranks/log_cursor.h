#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string_view>
#include <vector>

#include "env/result.h"
#include "launcher/ranks/rank_log.h"

namespace megalaunch {

/// A place in a growing log file that moves over whole lines. Holds no text: a line that is not
/// complete yet stays in the file and is read again. Lines longer than kPiece come in pieces, cut
/// between UTF-8 characters.
class LogCursor {
 public:
  static constexpr size_t kPiece = 128 * 1024;

  /// Starts at the beginning of `log`.
  explicit LogCursor(std::shared_ptr<const RankLog> log) : log_(std::move(log)) {}
  /// Starts at the beginning of `path`, which must exist.
  static Result<LogCursor> open(const std::filesystem::path& path);

  /// The next complete lines, at most kPiece bytes in all and each with its newline; or a piece of
  /// an overlong line, without; empty at the end. With `at_end`, a last line without newline is
  /// given too. The view points into `buffer`, which is made large enough.
  std::string_view read(std::vector<char>& buffer, bool at_end);

  /// Bytes of the file behind this place.
  uint64_t left() const;
  uint64_t offset() const { return place_; }
  /// Bytes that were dropped by the log's cap before this cursor reached them, since the last call.
  uint64_t take_skipped() { return std::exchange(skipped_, 0); }

 private:
  std::shared_ptr<const RankLog> log_;
  uint64_t place_ = 0;
  uint64_t skipped_ = 0;
  size_t unfinished_ = 0;  ///< bytes behind place_ that are known to hold no newline
};

}  // namespace megalaunch
