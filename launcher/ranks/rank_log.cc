#include "launcher/ranks/rank_log.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

namespace megalaunch {
namespace {

constexpr size_t kCopyPiece = 256 * 1024;
/// Beyond any byte that a rank could write between two of our system calls.
constexpr uint64_t kFarBehind = 1ULL << 36;

ssize_t read_at(int fd, char* buffer, size_t size, uint64_t offset) {
  ssize_t count = 0;
  do {
    count = ::pread(fd, buffer, size, static_cast<off_t>(offset));
  } while (count < 0 && errno == EINTR);
  return count;
}

bool write_all(int fd, const char* data, size_t size) {
  while (size > 0) {
    const ssize_t count = ::write(fd, data, size);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return false;
    data += count;
    size -= static_cast<size_t>(count);
  }
  return true;
}

}  // namespace

Result<std::shared_ptr<RankLog>> RankLog::open(const std::filesystem::path& path, LogCap cap,
                                               Fallocate fallocate) {
  const int access = cap.max_size > 0 ? O_RDWR : O_RDONLY;
  UniqueFd file(::open(path.c_str(), access | O_CLOEXEC));
  if (!file) return errno_error(errno, fmt::format("open {} to follow it", path.string()));
  return std::shared_ptr<RankLog>(
      new RankLog(path, cap, fallocate != nullptr ? fallocate : &::fallocate, std::move(file)));
}

std::filesystem::path RankLog::part_path(int number) const {
  return fmt::format("{}.{}", path_.string(), number);
}

uint64_t RankLog::size() const {
  struct stat info {};
  return ::fstat(file_.get(), &info) == 0 ? static_cast<uint64_t>(info.st_size) : 0;
}

uint64_t RankLog::end() const {
  const std::lock_guard lock(mutex_);
  return collapsed_ + size();
}

uint64_t RankLog::begin() const {
  const std::lock_guard lock(mutex_);
  return begin_;
}

size_t RankLog::read(uint64_t& place, char* buffer, size_t size) const {
  const std::lock_guard lock(mutex_);
  size_t done = 0;
  for (const Part& part : parts_) {
    if (place + done >= part.end) continue;
    if (done == 0) place = std::max(place, part.begin);
    const uint64_t at = place + done;
    const auto wanted = std::min<uint64_t>(size - done, part.end - at);
    const ssize_t count = read_at(part.file.get(), buffer + done, wanted, at - part.begin);
    if (count <= 0) break;
    done += static_cast<size_t>(count);
  }
  if (done == 0) place = std::max(place, begin_);
  if (done == size || place + done < begin_) return done;
  const ssize_t count = read_at(file_.get(), buffer + done, size - done, place + done - collapsed_);
  return done + static_cast<size_t>(std::max<ssize_t>(count, 0));
}

std::pair<uint64_t, uint64_t> RankLog::next_part(uint64_t block) const {
  const uint64_t offset = size(), first = begin_ - collapsed_;
  const auto whole_blocks = [block](uint64_t bytes) { return bytes / block * block; };
  const uint64_t last = offset > kTail ? whole_blocks(offset - kTail) : 0;
  if (last <= first) return {begin_, begin_};
  const uint64_t kept = whole_blocks(cap_.max_size) * static_cast<uint64_t>(cap_.keep);
  const uint64_t from = last - first > kept ? last - kept : first;
  const uint64_t to = std::min(last, from + whole_blocks(cap_.max_size));
  return {collapsed_ + from, collapsed_ + (cap_.keep > 0 ? to : from)};
}

Status RankLog::rotate() {
  if (newest_unnamed_)
    if (auto named = name_newest_part(); !named) return named;
  struct statvfs system {};
  if (::fstatvfs(file_.get(), &system) != 0)
    return errno_error(errno, fmt::format("ask for the block size of {}", path_.string()));
  const auto [from, to] = next_part(std::max<uint64_t>(system.f_bsize, 1));
  if (to <= begin_) return {};
  const bool keeps = to > from;
  if (auto possible = can_free(); !possible) return possible;
  if (keeps)
    if (auto room = has_room_for(to - from); !room) return room;
  auto gone = read_out(begin_, from, /*copies=*/false);
  if (!gone) return fail(std::move(gone).error());
  auto part = read_out(from, to, /*copies=*/keeps);
  if (auto freed =
          part ? free_front(std::move(*gone), std::move(*part)) : fail(std::move(part).error());
      !freed) {
    if (keeps) ::unlink(part_path(0).c_str());
    return freed;
  }
  newest_unnamed_ = keeps;
  return keeps ? name_newest_part() : Status();
}

Status RankLog::can_free() const {
  const auto behind = static_cast<off_t>(size() + kFarBehind) & ~static_cast<off_t>(0xFFFFF);
  if (fallocate_(file_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, behind, 1 << 20) == 0 ||
      (errno != EOPNOTSUPP && errno != ENOSYS))
    return {};
  return errno_error(EOPNOTSUPP, fmt::format("free the beginning of {}", path_.string()));
}

Status RankLog::has_room_for(uint64_t bytes) const {
  struct statvfs system {};
  if (::fstatvfs(file_.get(), &system) != 0 ||
      static_cast<uint64_t>(system.f_bavail) * system.f_frsize > bytes)
    return {};
  return errno_error(ENOSPC, fmt::format("move {} bytes of {} away", bytes, path_.string()));
}

Result<RankLog::Part> RankLog::read_out(uint64_t begin, uint64_t end, bool copies) const {
  Part part;
  part.begin = begin;
  part.end = end;
  const auto failed = [&](int error, const char* what) {
    return errno_error(error, fmt::format("{} {}", what, part_path(0).string()));
  };
  if (copies) {
    part.file.reset(::open(part_path(0).c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    if (!part.file) return failed(errno, "make");
  }
  std::vector<char> buffer(kCopyPiece);
  for (uint64_t place = begin; place < end;) {
    if (frozen_) return errno_error(ECANCELED, fmt::format("rotate {}", path_.string()));
    const auto wanted = std::min<uint64_t>(buffer.size(), end - place);
    const ssize_t count = read_at(file_.get(), buffer.data(), wanted, place - collapsed_);
    if (count <= 0)
      return errno_error(count < 0 ? errno : EIO, fmt::format("read {}", path_.string()));
    part.lines += static_cast<uint64_t>(std::count(buffer.data(), buffer.data() + count, '\n'));
    if (part.file && !write_all(part.file.get(), buffer.data(), static_cast<size_t>(count)))
      return failed(errno, "write");
    place += static_cast<uint64_t>(count);
  }
  // What is freed next must be on disk by then; and a network file system tells only now that it is
  // full.
  if (part.file && ::fdatasync(part.file.get()) != 0) return failed(errno, "write");
  return part;
}

Status RankLog::free_front(Part gone, Part part) {
  // The rank waits in write() while its file is cut, and the kernel must then have written what
  // stays: so that is done before.
  ::sync_file_range(file_.get(), static_cast<off64_t>(part.end - collapsed_), 0,
                    SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
  const std::lock_guard lock(mutex_);
  if (frozen_) return errno_error(ECANCELED, fmt::format("rotate {}", path_.string()));
  const auto length = static_cast<off_t>(part.end - collapsed_);
  const auto free_by = [&](int mode) {
    int result = 0;
    do {
      result = fallocate_(file_.get(), mode, 0, length);
    } while (result != 0 && errno == EINTR);
    return result == 0;
  };
  collapses_ = collapses_ && free_by(FALLOC_FL_COLLAPSE_RANGE);
  if (!collapses_ && !free_by(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE))
    return errno_error(errno, fmt::format("free the beginning of {}", path_.string()));
  begin_ = part.end;
  if (collapses_) collapsed_ = begin_;
  if (gone.end > gone.begin) {
    // What is kept has no gaps: older parts go, too.
    for (; !parts_.empty(); parts_.pop_front()) drop(parts_.front());
    for (int number = 1; number <= cap_.keep; ++number) ::unlink(part_path(number).c_str());
    drop(gone);
  }
  if (part.end == part.begin) return {};
  parts_.push_back(std::move(part));
  if (parts_.size() > static_cast<size_t>(cap_.keep)) {
    drop(parts_.front());
    parts_.pop_front();
  }
  return {};
}

void RankLog::drop(const Part& part) {
  dropped_.bytes += part.end - part.begin;
  dropped_.lines += part.lines;
}

DroppedLog RankLog::freeze() {
  frozen_ = true;
  const std::lock_guard lock(mutex_);
  return dropped_;
}

/// .0 becomes .1, and so on; rename() replaces the one that is beyond `keep`.
Status RankLog::name_newest_part() {
  for (int number = cap_.keep - 1; number >= 0; --number) {
    const auto from = part_path(number), to = part_path(number + 1);
    if (::rename(from.c_str(), to.c_str()) == 0 || (errno == ENOENT && number > 0)) continue;
    return errno_error(errno, fmt::format("rename {} to {}", from.string(), to.string()));
  }
  newest_unnamed_ = false;
  return {};
}

}  // namespace megalaunch
