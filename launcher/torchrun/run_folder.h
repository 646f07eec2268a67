#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "env/result.h"
#include "env/variables.h"
#include "launcher/gang/rank_files.h"

namespace megalaunch {

/// Where the logs of one agent lie, as torchrun has it:
///   <log_dir>/<run_id>_<8 random
///   letters>/attempt_<restart>/<local_rank>/{stdout.log,stderr.log,error.json}
class RunFolder {
 public:
  /// Makes the run's folder, and `log_dir` before it. Without `log_dir` that is a temporary one.
  static Result<RunFolder> make(const std::optional<std::string>& log_dir,
                                const std::string& run_id, const std::filesystem::path& cwd,
                                const Variables& environment);

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path attempt(int generation) const;
  RankFiles rank(int generation, int local_rank) const;

 private:
  explicit RunFolder(std::filesystem::path path) : path_(std::move(path)) {}
  std::filesystem::path path_;  ///< absolute
};

/// A fresh folder in TMPDIR, or /tmp.
Result<std::filesystem::path> make_temporary_folder(const Variables& environment);

}  // namespace megalaunch
