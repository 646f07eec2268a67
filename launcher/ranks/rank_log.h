#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <memory>
#include <mutex>
#include <utility>

#include "env/result.h"
#include "env/unique_fd.h"

namespace megalaunch {

/// How large a rank's log file may grow, and how much of what it held before is kept.
struct LogCap {
  uint64_t max_size = 0;  ///< bytes of the file itself; 0: no cap
  int keep = 2;           ///< older parts, each about max_size: stdout.log.1 is the newest
};

/// What a cap took away for good.
struct DroppedLog {
  uint64_t bytes = 0;
  uint64_t lines = 0;
};

/// A log file that a rank appends to, and whose oldest part can be moved away while it does: the
/// rank keeps its descriptor (O_APPEND), and loses and repeats nothing. Places count from the
/// first byte that the rank ever wrote, so that readers need not know of any of it. Thread-safe,
/// but rotate() is for one thread.
class RankLog {
 public:
  /// So much of the end always stays in the file itself, where one looks for a rank's last words.
  static constexpr uint64_t kTail = 256 * 1024;
  using Fallocate = int (*)(int fd, int mode, off_t offset, off_t length);

  /// `path` must exist. `fallocate` is the system's, but in tests.
  static Result<std::shared_ptr<RankLog>> open(const std::filesystem::path& path, LogCap cap = {},
                                               Fallocate fallocate = nullptr);

  /// Reads at `place` from the file and its kept parts; 0 at the end. Moves `place` forward over
  /// what has been dropped.
  size_t read(uint64_t& place, char* buffer, size_t size) const;
  /// The place behind the last byte.
  uint64_t end() const;
  /// The place of the first byte that is still in the file itself.
  uint64_t begin() const;
  uint64_t max_size() const { return cap_.max_size; }
  const std::filesystem::path& path() const { return path_; }

  bool is_over_its_cap() const { return cap_.max_size > 0 && end() - begin() > cap_.max_size; }
  /// Moves the oldest part of the file, at most max_size and never its end, to <path>.1, whose
  /// predecessors become .2 and so on; drops the one beyond `keep`, and what is so far from the end
  /// that it would be dropped soon. `cat PATH.2 PATH.1 PATH` is then the end of what the rank
  /// wrote, where the file system can collapse a range (ext4, xfs); elsewhere PATH begins with a
  /// hole in place of what was moved. Needs as much room again while it copies. Nothing has changed
  /// when it fails: a full disk, or (code EOPNOTSUPP) a file system that cannot free a part of a
  /// file.
  Status rotate();
  /// The rank is gone: nothing is moved any more, and a rotate() under way gives up. What was
  /// dropped in all.
  DroppedLog freeze();

 private:
  /// An older part, by its place in the whole.
  struct Part {
    UniqueFd file;
    uint64_t begin = 0;
    uint64_t end = 0;
    uint64_t lines = 0;
  };
  RankLog(std::filesystem::path path, LogCap cap, Fallocate fallocate, UniqueFd file)
      : path_(std::move(path)), cap_(cap), fallocate_(fallocate), file_(std::move(file)) {}

  std::filesystem::path part_path(int number) const;
  uint64_t size() const;
  Status can_free() const;
  Status has_room_for(uint64_t bytes) const;
  /// Where what rotate() moves begins and ends: what is before is dropped.
  std::pair<uint64_t, uint64_t> next_part(uint64_t block) const;
  /// Counts the lines from begin to end; also copies them to .0 when `copies`.
  Result<Part> read_out(uint64_t begin, uint64_t end, bool copies) const;
  /// Frees what is before the end of the part, which becomes one of parts_.
  Status free_front(Part gone, Part part);
  void drop(const Part& part);
  Status name_newest_part();

  std::filesystem::path path_;
  LogCap cap_;
  Fallocate fallocate_;
  UniqueFd file_;
  bool collapses_ = true;        ///< the file system can; until it says otherwise
  bool newest_unnamed_ = false;  ///< the last part is still called .0
  std::atomic<bool> frozen_ = false;

  mutable std::mutex mutex_;  ///< of what follows, and of where in the file a place is
  uint64_t collapsed_ = 0;    ///< bytes that were before the file's first one
  uint64_t begin_ = 0;        ///< see begin()
  std::deque<Part> parts_;    ///< oldest first
  DroppedLog dropped_;
};

}  // namespace megalaunch
