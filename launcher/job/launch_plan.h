#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "env/platform.h"
#include "launcher/job/job.h"

namespace megalaunch {

/// A job on this node: the job file with every `auto` answered. A plain value; nothing of it exists
/// yet. Node 0's answers for `output` and `log_dir` count for all nodes (rendezvous/gang hands them
/// out).
struct LaunchPlan {
  PlatformKind platform = PlatformKind::kLocal;
  int nodes = 1;
  std::optional<int> node_rank;  ///< nothing: the order of arrival decides
  int ranks_per_node = 1;
  Endpoint endpoint;          ///< where node 0's agent listens; port 0: it picks a free one
  std::filesystem::path cwd;  ///< absolute; where the ranks of a `command:` job start
  std::optional<std::filesystem::path> output;  ///< absolute
  std::filesystem::path log_dir;                ///< absolute
};

/// What plan_launch gives: a plan, or at least one error. Errors about the environment have no
/// line; their `file` is "environment" and their `key` the variable.
struct PlannedLaunch {
  std::optional<LaunchPlan> plan;
  std::vector<JobError> errors;
};

/// Brings the job and the platform's contract together. Pure.
/// output: the job file's, else the platform's OUTPUT_DIR, else none. Logs: `logs.dir`, else
/// <output>/logs, else <workdir>/logs. Relative paths start at the job's workdir.
PlannedLaunch plan_launch(const Job& job, const Variables& environment, const HostFacts& host);

}  // namespace megalaunch
