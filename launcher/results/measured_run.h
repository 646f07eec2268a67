#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "env/clock.h"
#include "env/result.h"
#include "launcher/results/iteration_line.h"
#include "launcher/results/log_files.h"
#include "launcher/results/run_record.h"

namespace megalaunch {

/// Everything that is known of one run: its settings and what it measured. A plain value.
struct MeasuredRun {
  struct Iteration {
    int generation = 0;
    std::optional<WallTime> at;  ///< absent when read from logs
    IterationSample values;
  };

  RunRecord record;
  std::vector<Iteration> iterations;      ///< in the order of printing; a restart may repeat some
  std::map<int, double> rank_memory_mib;  ///< highest figure that each rank printed, by global rank
  std::map<std::pair<int, int>, double>
      gpu_memory_mib;           ///< highest figure of the driver, by node and GPU
  std::int64_t xid_errors = 0;  ///< of all GPUs
  std::int64_t ecc_errors = 0;  ///< uncorrected, that came while the run was watched

  /// The highest figure of any GPU: the driver's when it was sampled, else the ranks'.
  std::optional<double> max_memory_mib() const;
};

/// Reads a run: run.json and the samples where there are any, and the logs for what those lack (a
/// run of another launcher has only logs). Never fails for what a file says: damaged lines are
/// skipped. An unreadable file or a damaged run.json is an error.
Result<MeasuredRun> read_measured_run(const RunFiles& files);

}  // namespace megalaunch
