#include "launcher/results/stage_memory.h"

#include <gtest/gtest.h>

namespace megalaunch {
namespace {

RunRecord run(const char* model, const char* precision, int gpus, int tp, int pp, int cp) {
  RunRecord record;
  record.model = model;
  record.size = find_known_model(model)->size;
  record.precision = precision;
  record.gpus = gpus;
  record.tp = tp;
  record.pp = pp;
  record.cp = cp;
  record.mbs = 1;
  record.gbs = 1024;
  record.seq = 8192;
  record.activations = "none";
  return record;
}

TEST(StageMemory, OfTheFirstStageIsNearWhatWasMeasured) {
  RunRecord record = run("llama3.1-8B", "fp8", 32, 1, 4, 1);
  EXPECT_NEAR(expected_stage_memory_mib(record)->at(0) / 54416, 1, 0.05);
  record = run("llama3.1-8B", "bf16", 32, 1, 2, 1);
  EXPECT_NEAR(expected_stage_memory_mib(record)->at(0) / 65012, 1, 0.05);
  record.virtual_stage_layers = 4;
  EXPECT_NEAR(expected_stage_memory_mib(record)->at(0) / 71150, 1, 0.05);
  record = run("llama3.1-70B", "fp8", 64, 4, 8, 2);
  record.virtual_stage_layers = 2;
  EXPECT_NEAR(expected_stage_memory_mib(record)->at(0) / 60574, 1, 0.05);
}

TEST(StageMemory, FallsFromStageToStageUpToTheLastWhichHasTheLogits) {
  const auto stages = *expected_stage_memory_mib(run("llama3.1-8B", "fp8", 32, 1, 4, 1));
  ASSERT_EQ(stages.size(), 4u);
  EXPECT_GT(stages[0], stages[1]);
  EXPECT_GT(stages[1], stages[2]);
  EXPECT_GT(stages[3], stages[2]);
}

TEST(StageMemory, FullRecomputationNeedsMuchLess) {
  RunRecord record = run("qwen2.5-14B", "fp8", 32, 1, 4, 1);
  const double without = expected_stage_memory_mib(record)->at(0);
  record.activations = "full";
  EXPECT_LT(expected_stage_memory_mib(record)->at(0), 0.7 * without);
}

TEST(StageMemory, IsUnknownWithoutItsInputs) {
  RunRecord record = run("llama3.1-8B", "fp8", 32, 1, 4, 1);
  record.activations = "offload";
  EXPECT_EQ(expected_stage_memory_mib(record), std::nullopt);
  record = run("llama3.1-8B", "fp16", 32, 1, 4, 1);
  EXPECT_EQ(expected_stage_memory_mib(record), std::nullopt);
  record = run("llama3.1-8B", "fp8", 2, 1, 4, 1);  // fewer GPUs than stages
  EXPECT_EQ(expected_stage_memory_mib(record), std::nullopt);
  EXPECT_EQ(expected_stage_memory_mib(RunRecord{}), std::nullopt);
}

}  // namespace
}  // namespace megalaunch
