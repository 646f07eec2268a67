#include "launcher/ranks/log_cursor.h"

#include <algorithm>

namespace megalaunch {
namespace {

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
  size_t passed = text.substr(std::min(unfinished_, count)).rfind('\n');
  passed = passed == text.npos ? 0 : unfinished_ + passed + 1;
  if (passed == 0 && count == kPiece)
    passed = whole_characters(text);
  else if (passed == 0 && at_end)
    passed = count;
  place_ += passed;
  unfinished_ = passed == 0 ? count : 0;
  return text.substr(0, passed);
}

}  // namespace megalaunch
