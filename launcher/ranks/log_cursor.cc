#include "launcher/ranks/log_cursor.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

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
  UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return errno_error(errno, fmt::format("open {} to follow it", path.string()));
  return LogCursor(std::move(file));
}

uint64_t LogCursor::left() const {
  struct stat info {};
  if (::fstat(file_.get(), &info) != 0) return 0;
  const auto size = static_cast<uint64_t>(info.st_size);
  return size > offset_ ? size - offset_ : 0;
}

size_t LogCursor::read(const std::function<void(std::string_view)>& sink, bool at_end) {
  static thread_local std::array<char, kPiece> buffer;
  ssize_t count = 0;
  do {
    count = ::pread(file_.get(), buffer.data(), buffer.size(), static_cast<off_t>(offset_));
  } while (count < 0 && errno == EINTR);
  if (count <= 0) return 0;

  std::string_view text(buffer.data(), static_cast<size_t>(count));
  size_t passed = 0;
  while (passed < text.size()) {
    const std::string_view rest = text.substr(passed);
    const void* newline = std::memchr(rest.data(), '\n', rest.size());
    if (newline == nullptr) break;
    const size_t length = static_cast<size_t>(static_cast<const char*>(newline) - rest.data()) + 1;
    sink(rest.substr(0, length));
    passed += length;
  }
  if (passed == 0 && (text.size() == kPiece || at_end)) {
    passed = text.size() == kPiece ? whole_characters(text) : text.size();
    sink(text.substr(0, passed));
  }
  offset_ += passed;
  return passed;
}

}  // namespace megalaunch
