#pragma once

#include "env/clock.h"

namespace megalaunch {

// What a stop may take beyond the grace that ranks have. Each waits for the one before it, so they
// are derived from each other.

/// After SIGKILL a process is gone in milliseconds, unless it sits in an uninterruptible system
/// call (a hung network file system, a GPU driver). A node does not wait for those for ever.
constexpr seconds kUninterruptiblePatience{30};
/// Then, for a GPU that the driver still holds for a rank that has ended.
constexpr seconds kGpuPatience{10};
/// Node 0 takes a node for broken that has not answered after this, which is more than a node
/// needs.
constexpr seconds kStopPatience = kUninterruptiblePatience + kGpuPatience + seconds(10);
/// An interrupted agent leaves without node 0's word after this, when node 0 has given up all
/// others that are stuck.
constexpr seconds kInterruptPatience = kStopPatience + seconds(5);

}  // namespace megalaunch
