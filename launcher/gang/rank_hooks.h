#pragma once

#include <functional>
#include <vector>

#include "env/rank_environment.h"
#include "env/result.h"
#include "env/variables.h"
#include "launcher/causes/evidence.h"
#include "launcher/gang/rank_files.h"
#include "launcher/ranks/log_pump.h"
#include "launcher/ranks/rank_group.h"

namespace megalaunch {

/// What another front end than `run` wants different about an agent's ranks. Any may be null. All
/// are called from the agent's context.
struct RankHooks {
  /// Where a rank's files lie; called once per rank before a generation starts. The folder is made;
  /// an empty one means no files.
  std::function<Result<RankFiles>(int generation, int local_rank)> files;
  /// The last word about a rank before it is started: what it runs, its environment, its streams.
  std::function<Status(const RankPlace&, Variables&, RankSpec&)> adjust;
  /// The same for how the console shows one of its streams.
  std::function<void(const RankSpec&, LogPump::Source&)> adjust_source;
  /// The job is over; `evidence` is about this node's ranks in the last generation, when it failed.
  std::function<void(int exit_code, const std::vector<Evidence>& evidence)> ended;
};

}  // namespace megalaunch
