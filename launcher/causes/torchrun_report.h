#pragma once

#include <optional>
#include <string>
#include <vector>

#include "launcher/causes/evidence.h"
#include "launcher/causes/log_lines.h"

namespace megalaunch {

/// One rank's block in the report that torchrun prints when it gives up, or its one-line message
/// about a failed rank.
struct TorchrunFailure {
  std::optional<int> rank;
  std::optional<int> local_rank;
  int pid = 0;
  std::string host;
  RankEnd end = NotRecorded{};
  bool root_cause = false;  ///< the block stands under "Root Cause (first observed failure)"
  size_t line = 0;          ///< number of the line with the exit code
  size_t order = 0;         ///< its place in time among the lines: a report has its root cause last
  std::string text;         ///< that line

  /// It ended by a signal with which torchrun itself ends ranks, and torchrun does not call it the
  /// root cause.
  bool stopped_by_torchrun() const;
};

/// Finds such blocks in a log, in order. A rank that is in the report and in a one-line message is
/// given once.
std::vector<TorchrunFailure> find_torchrun_report(const std::vector<LogLine>& lines);

}  // namespace megalaunch
