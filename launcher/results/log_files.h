#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "env/result.h"

namespace megalaunch {

/// The files that belong to one run.
struct RunFiles {
  std::string name;                        ///< where it was found, relative to what was searched
  std::filesystem::path record_directory;  ///< holds run.json; empty when there is none
  std::vector<std::filesystem::path>
      logs;  ///< ordered by generation ("attempt_1" after "attempt_0"), then by path; older parts
             ///< of a log ("stdout.log.1") before it

  bool operator==(const RunFiles&) const = default;
};

/// Which of `files` (below `root`) belong together. Pure. A run is
///  - a directory with run.json and all below it; else
///  - logs whose paths hold a start time `20241107T162721` at the same place, within two minutes of
///  each other: nodes take
///    their own clocks, for torchrun's log directories and for training-log-<node>.<time>.txt
///    alike; else
///  - the logs of one torchrun directory (`.../attempt_0/3/stdout.log`); else
///  - a single log file.
/// Files that are no logs by their names are left out. Ordered by name.
std::vector<RunFiles> group_run_files(const std::filesystem::path& root,
                                      const std::vector<std::filesystem::path>& files);

/// The runs below `path`, which may be a log file itself; none for a launcher's journal. Looks at
/// most 6 directories deep and at 100,000 files; more is an error, as is a path that does not
/// exist.
Result<std::vector<RunFiles>> find_runs(const std::filesystem::path& path);

/// N of "attempt_N" or "generation_N" in a path; 0 when there is none.
int generation_of_path(const std::filesystem::path& path);

}  // namespace megalaunch
