#pragma once

#include <optional>
#include <string>
#include <vector>

#include "launcher/gang/rank_hooks.h"
#include "launcher/torchrun/options.h"
#include "launcher/torchrun/run_folder.h"

namespace megalaunch {

/// How a torchrun command line wants its ranks: files in torchrun's layout, streams to files, to
/// the console or straight through, its prefixes and filters, its environment. `folder` is nothing
/// with --log-dir /dev/null; `cpus` are those that each local rank is bound to, empty for none.
RankHooks rank_hooks(const TorchrunOptions& options, const std::optional<RunFolder>& folder,
                     std::vector<std::vector<int>> cpus);

/// The device that a rank gets with --virtual-local-rank. An error when CUDA_VISIBLE_DEVICES has
/// none for it.
Result<std::string> device_of_rank(const std::optional<std::string>& cuda_visible_devices,
                                   int local_rank);

}  // namespace megalaunch
