#pragma once

#include "env/clock.h"
#include "env/log.h"
#include "env/result.h"
#include "env/variables.h"
#include "launcher/cli/planned_job.h"
#include "launcher/gang/node.h"

namespace megalaunch {

/// What this node has to run for a planned job: the agent, on node 0 the leader, what to prepare
/// and to watch. Refuses (kUsage) what cannot be started here: a missing program or folder, an
/// unreadable key. Starts nothing.
Result<NodeOptions> node_for_job(const PlannedJob& planned, const Variables& environment,
                                 const Log& log);

}  // namespace megalaunch
