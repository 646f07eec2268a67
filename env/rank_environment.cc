#include "env/rank_environment.h"

namespace megalaunch {

Variables rank_environment(const Variables& inherited, const RankPlace& place) {
  Variables variables = inherited;
  const auto set = [&variables](const char* name, int value) {
    variables.set(name, std::to_string(value));
  };
  const auto set_default = [&variables](std::string_view name, const char* value) {
    if (!variables.get(name)) variables.set(std::string(name), value);
  };
  set("RANK", place.rank);
  set("LOCAL_RANK", place.local_rank);
  set("WORLD_SIZE", place.world_size);
  set("LOCAL_WORLD_SIZE", place.local_world_size);
  set("GROUP_RANK", place.node_rank);
  set("GROUP_WORLD_SIZE", place.nodes);
  set("ROLE_RANK", place.rank);
  set("ROLE_WORLD_SIZE", place.world_size);
  variables.set("ROLE_NAME", place.role);
  variables.set("MASTER_ADDR", place.master_addr);
  set("MASTER_PORT", place.master_port);
  set("TORCHELASTIC_RESTART_COUNT", place.generation);
  set("TORCHELASTIC_MAX_RESTARTS", place.max_restarts);
  variables.set("TORCHELASTIC_RUN_ID", place.run_id);
  variables.set("TORCHELASTIC_USE_AGENT_STORE", "True");
  variables.set("TORCHELASTIC_ERROR_FILE", place.error_file.string());
  set_default(nccl_error_handling_variable(place.torch), "1");
  if (place.local_world_size > 1) set_default("OMP_NUM_THREADS", "1");
  return variables;
}

}  // namespace megalaunch
