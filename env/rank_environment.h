#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "env/torch_version.h"
#include "env/variables.h"

namespace megalaunch {

/// A rank's place in its gang, in torch's terms: WORLD_SIZE counts ranks.
struct RankPlace {
  int rank = 0;
  int local_rank = 0;
  int node_rank = 0;
  int world_size = 1;
  int local_world_size = 1;
  int nodes = 1;
  int generation = 0;  ///< TORCHELASTIC_RESTART_COUNT, the same on every node
  int max_restarts = 0;
  std::string run_id;
  std::string master_addr;
  int master_port = 0;
  std::filesystem::path error_file;  ///< absolute; torch's @record writes it
  std::string role = "default";
  std::optional<TorchVersion> torch;  ///< that the rank will import, when that is known
};

/// The environment of one rank: `inherited` with exactly the variables that torchrun sets on top
/// (the table is in docs/environment.md). OMP_NUM_THREADS becomes 1 when it is unset and the node
/// has more than one rank. TORCHELASTIC_USE_AGENT_STORE is True: ranks are clients of our store,
/// also rank 0. Pure.
Variables rank_environment(const Variables& inherited, const RankPlace& place);

}  // namespace megalaunch
