#pragma once

#include <optional>
#include <string_view>
#include <vector>

namespace megalaunch {

struct LogLine;

/// The rank that a message speaks of as its own: torch's "[Rank 3] Watchdog caught ...", Megatron's
/// "Rank 3, node gpu-1, ...", "Error on rank 3: ...", "srun: error: gpu-1: task 3: ...". Not the
/// ranks that it waits for, those within a group ("tp rank 3"), and none of several.
std::optional<int> rank_named_in(std::string_view text);

/// The one rank of which a message says that the others waited for it in vain: torch's
/// "[Rank 0]: Ranks 3 failed to pass monitoredBarrier", "[3] finished collective #7, but didn't
/// join collective #8", "ranks [3] are the lagging ranks".
std::optional<int> rank_accused_in(std::string_view text);

/// The process whose traceback the line at `index` is in, as torch.multiprocessing.spawn says above
/// it: "-- Process 1 terminated with the following error:".
std::optional<int> rank_spawned(const std::vector<LogLine>& lines, size_t index);

}  // namespace megalaunch
