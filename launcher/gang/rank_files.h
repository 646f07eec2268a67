#pragma once

#include <cstddef>
#include <filesystem>
#include <string>

#include "launcher/causes/evidence.h"

namespace megalaunch {

/// The files of one rank in one generation:
/// <run_dir>/attempt_<generation>/<node_rank>/<local_rank>/...; no files when the folder is empty.
struct RankFiles {
  std::filesystem::path folder;
  std::filesystem::path stdout_log() const { return folder / "stdout.log"; }
  std::filesystem::path stderr_log() const { return folder / "stderr.log"; }
  std::filesystem::path error_file() const { return folder / "error.json"; }
};

RankFiles rank_files(const std::filesystem::path& run_dir, int generation, int node_rank,
                     int local_rank);

/// The last `limit` bytes of a file; empty when it cannot be read.
std::string read_tail(const std::filesystem::path& path, size_t limit);

/// Adds what the rank's files say to its evidence: torch's error file and the tails of its logs,
/// each at most `tail_limit` bytes.
void add_files(Evidence& evidence, const RankFiles& files, size_t tail_limit);

}  // namespace megalaunch
