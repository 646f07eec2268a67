#include "env/rank_environment.h"

#include <gtest/gtest.h>

namespace megalaunch {
namespace {

RankPlace place() {
  RankPlace place;
  place.rank = 13;
  place.local_rank = 5;
  place.node_rank = 1;
  place.world_size = 16;
  place.local_world_size = 8;
  place.nodes = 2;
  place.generation = 3;
  place.max_restarts = 4;
  place.run_id = "run-1";
  place.master_addr = "node0";
  place.master_port = 29500;
  place.error_file = "/logs/error.json";
  return place;
}

TEST(RankEnvironment, IsExactlyWhatTorchrunSets) {
  const std::map<std::string, std::string> expected{
      {"RANK", "13"},
      {"LOCAL_RANK", "5"},
      {"WORLD_SIZE", "16"},
      {"LOCAL_WORLD_SIZE", "8"},
      {"GROUP_RANK", "1"},
      {"GROUP_WORLD_SIZE", "2"},
      {"ROLE_RANK", "13"},
      {"ROLE_WORLD_SIZE", "16"},
      {"ROLE_NAME", "default"},
      {"MASTER_ADDR", "node0"},
      {"MASTER_PORT", "29500"},
      {"TORCHELASTIC_RESTART_COUNT", "3"},
      {"TORCHELASTIC_MAX_RESTARTS", "4"},
      {"TORCHELASTIC_RUN_ID", "run-1"},
      {"TORCHELASTIC_USE_AGENT_STORE", "True"},
      {"TORCHELASTIC_ERROR_FILE", "/logs/error.json"},
      {"TORCH_NCCL_ASYNC_ERROR_HANDLING", "1"},
      {"OMP_NUM_THREADS", "1"},
  };
  EXPECT_EQ(rank_environment(Variables(), place()).all(), expected);
}

TEST(RankEnvironment, ReplacesThePlatformsWorldSizeWhichCountsNodes) {
  Variables inherited;
  inherited.set("WORLD_SIZE", "2");
  inherited.set("RANK", "1");
  inherited.set("MASTER_ADDR", "localhost");
  const auto variables = rank_environment(inherited, place());
  EXPECT_EQ(variables.get("WORLD_SIZE"), "16");
  EXPECT_EQ(variables.get("RANK"), "13");
  EXPECT_EQ(variables.get("MASTER_ADDR"), "node0");
}

TEST(RankEnvironment, KeepsWhatElseIsInherited) {
  Variables inherited;
  inherited.set("PATH", "/bin");
  inherited.set("NCCL_DEBUG", "");
  const auto variables = rank_environment(inherited, place());
  EXPECT_EQ(variables.get("PATH"), "/bin");
  EXPECT_EQ(variables.get("NCCL_DEBUG"), "");
}

TEST(RankEnvironment, DoesNotChangeWhatTheUserSaidOfThreadsAndNccl) {
  Variables inherited;
  inherited.set("OMP_NUM_THREADS", "12");
  inherited.set("TORCH_NCCL_ASYNC_ERROR_HANDLING", "0");
  const auto variables = rank_environment(inherited, place());
  EXPECT_EQ(variables.get("OMP_NUM_THREADS"), "12");
  EXPECT_EQ(variables.get("TORCH_NCCL_ASYNC_ERROR_HANDLING"), "0");
}

TEST(RankEnvironment, LeavesThreadsAloneWhenTheNodeHasOneRank) {
  RankPlace alone = place();
  alone.local_world_size = 1;
  EXPECT_EQ(rank_environment(Variables(), alone).get("OMP_NUM_THREADS"), std::nullopt);
}

}  // namespace
}  // namespace megalaunch
