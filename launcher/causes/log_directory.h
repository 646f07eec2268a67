#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "env/result.h"
#include "launcher/causes/evidence.h"

namespace megalaunch {

/// A directory that holds one rank's stdout.log, stderr.log and perhaps error.json.
struct RankDirectory {
  std::filesystem::path path;
  Evidence evidence;  ///< ranks from the path; with our report.json also the end, its time and who
                      ///< was stopped
  bool rank_known = false;  ///< evidence.rank is the global rank
};

/// The logs below a path.
struct LogDirectory {
  std::vector<RankDirectory> ranks;
  std::vector<std::filesystem::path> files;  ///< when there are no rank directories: all log files
  std::vector<std::string> notes;            ///< attempts and runs that were left out
};

/// Finds the logs of the last attempt below `path`: our layout
/// (attempt_<n>/<node_rank>/<local_rank>/), torchrun's (attempt_<n>/<local_rank>/, one run
/// directory per node), a single file, or loose files. Of several runs of ours the newest counts.
/// Errors: no such path, or no log below it.
Result<LogDirectory> find_logs(const std::filesystem::path& path);

}  // namespace megalaunch
