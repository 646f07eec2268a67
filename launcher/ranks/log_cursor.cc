#include "launcher/ranks/log_cursor.h"

#include <algorithm>
#include <cstring>

namespace megalaunch {
namespace {

/// The length of `text` through its last line end, 0 without one. memrchr() looks at 32 bytes at a
/// time where rfind() looks at one: a rank may print megabytes without a line end.
size_t whole_lines(std::string_view text) {
  const void* newline = text.empty() ? nullptr : ::memrchr(text.data(), '\n', text.size());
  return newline == nullptr
             ? 0
             : static_cast<size_t>(static_cast<const char*>(newline) - text.data()) + 1;
}

/// The largest prefix of `text` that does not cut a UTF-8 character; all of it when it is not UTF-8
/// anyway.
size_t whole_characters(std::string_view text) {
  for (size_t back = 1; back <= 4 && back <= text.size(); ++back) {
    const auto byte = static_cast<unsigned char>(text[text.size() - back]);
    if (byte < 0x80) return text.size();
    if (byte < 0xC0) continue;
    const size_t length = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : 2;
    return length > back ? text.size() - back : text.size();
  }
  return text.size();
}

}  // namespace

Result<LogCursor> LogCursor::open(const std::filesystem::path& path) {
  auto log = RankLog::open(path);
  if (!log) return fail(std::move(log).error());
  return LogCursor(std::move(*log));
}

uint64_t LogCursor::left() const {
  const uint64_t end = log_->end();
  return end > place_ ? end - place_ : 0;
}

std::string_view LogCursor::read(std::vector<char>& buffer, bool at_end) {
  buffer.resize(kPiece);
  const uint64_t before = place_;
  const size_t count = log_->read(place_, buffer.data(), kPiece);
  if (place_ != before) {
    skipped_ += place_ - before;
    unfinished_ = 0;
  }
  const std::string_view text(buffer.data(), count);
  const size_t searched = std::min(unfinished_, count);
  size_t passed = whole_lines(text.substr(searched));
  if (passed > 0) passed += searched;
  if (passed == 0 && count == kPiece)
    passed = whole_characters(text);
  else if (passed == 0 && at_end)
    passed = count;
  place_ += passed;
  unfinished_ = passed == 0 ? count : 0;
  return text.substr(0, passed);
}

}  // namespace megalaunch
