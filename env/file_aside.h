#pragma once

#include <filesystem>
#include <string_view>

#include "env/result.h"
#include "env/unique_fd.h"

namespace megalaunch {

/// A file that is written beside its final name, and vanishes unless commit() gives it that name:
/// whoever reads it sees the old one or the new one whole, and the old one stays when anything
/// fails. Its name for now is its own, also among nodes that share the folder. Not thread-safe.
class FileAside {
 public:
  static Result<FileAside> open(const std::filesystem::path& target);
  FileAside(FileAside&&) = default;
  FileAside& operator=(FileAside&&) = delete;
  ~FileAside();

  Status write(std::string_view data);
  /// Flushed to the disk, so that it also outlives the machine. Some file systems report that they
  /// are full no sooner than here.
  Status sync();
  Status commit();

 private:
  FileAside(std::filesystem::path target, std::filesystem::path aside, UniqueFd fd);

  std::filesystem::path target_;
  std::filesystem::path aside_;
  UniqueFd fd_;
};

/// Writes or replaces a file as a whole. Not synced: it outlives this process, and a sync would
/// stand between a failure and the restart.
Status replace_file(const std::filesystem::path& path, std::string_view text);

}  // namespace megalaunch
