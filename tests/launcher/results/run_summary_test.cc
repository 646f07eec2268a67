#include "launcher/results/run_summary.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace megalaunch {
namespace {

using testing::ElementsAre;
using testing::StartsWith;

/// Iterations of 607.2 TFLOP/s and 25003 ms, the first one slow.
MeasuredRun run_of(int iterations) {
  MeasuredRun run;
  run.record.model = "llama3.1-8b";
  run.record.precision = "fp8";
  run.record.gpus = 32;
  run.record.seq = 8192;
  for (int i = 1; i <= iterations; ++i) {
    IterationSample sample;
    sample.iteration = i;
    sample.global_batch = 1024;
    sample.tflops_per_gpu = i == 1 ? 100.0 : 607.2;
    sample.ms_per_iteration = i == 1 ? 151818.2 : 25003.0;
    run.iterations.push_back({0, std::nullopt, sample});
  }
  return run;
}

TEST(RunSummary, HasTheMediansAndWhatFollowsFromThem) {
  const RunSummary row = summarize(run_of(20), {});
  EXPECT_EQ(row.record.model, "llama3.1-8B");
  EXPECT_EQ(row.record.gbs, 1024);
  EXPECT_EQ(row.tflops_per_gpu, 607.2);
  EXPECT_EQ(row.tflops_spread, 0.0);
  EXPECT_EQ(row.ms_per_iteration, 25003.0);
  EXPECT_DOUBLE_EQ(row.mfu.value(), 607.2 / 1978.9);
  EXPECT_DOUBLE_EQ(row.tokens_per_second_per_gpu.value(), 1024 * 8192 / 25.003 / 32);
  EXPECT_TRUE(row.flags.empty());
}

TEST(RunSummary, IterationsOfTheWarmUpDoNotCountAfterAnyStart) {
  MeasuredRun run = run_of(20);
  for (int i = 15; i <= 40; ++i) {
    auto again = run.iterations[10];
    again.generation = 1;
    again.values.iteration = i;
    again.values.tflops_per_gpu = i < 18 ? 1.0 : 700.0;
    run.iterations.push_back(again);
  }
  const RunSummary row = summarize(run, {.warm_up = 3, .min_iterations = 40});
  EXPECT_EQ(row.tflops_per_gpu, 700.0);
  EXPECT_NEAR(row.tflops_spread.value(), (700.0 - 607.2) / 2,
              1e-9);  // 17 of the first life, 23 of the second
}

TEST(RunSummary, AShortRunCountsWhatThereIsAndIsFlagged) {
  const RunSummary row = summarize(run_of(2), {});
  EXPECT_DOUBLE_EQ(row.tflops_per_gpu.value(), (100.0 + 607.2) / 2);
  ASSERT_FALSE(row.flags.empty());
  EXPECT_THAT(row.flags[0], StartsWith("iterations: only 2 counted"));
}

TEST(RunSummary, ThroughputFollowsFromTheTimeWhereTheProgramDoesNotLogIt) {
  MeasuredRun run = run_of(20);
  for (auto& iteration : run.iterations) iteration.values.tflops_per_gpu.reset();
  EXPECT_NEAR(summarize(run, {}).tflops_per_gpu.value(), 607.2, 0.05);
}

TEST(RunSummary, ARunWithoutIterationsHasARowWithoutNumbersAndFlags) {
  MeasuredRun run;
  run.record.name = "broken";
  run.record.outcome = "error";
  const RunSummary row = summarize(run, {});
  EXPECT_EQ(row.record.name, "broken");
  EXPECT_EQ(row.tflops_per_gpu, std::nullopt);
  EXPECT_TRUE(row.flags.empty());
}

TEST(RunSummary, MfuIsOfTheCardThatRanOrThatIsAskedFor) {
  MeasuredRun run = run_of(20);
  run.record.precision = "bf16";
  run.record.card = "NVIDIA A100-SXM4-80GB";
  EXPECT_DOUBLE_EQ(summarize(run, {}).mfu.value(), 607.2 / 312);
  EXPECT_THAT(summarize(run, {}).flags, ElementsAre(StartsWith("peak:")));
  EXPECT_DOUBLE_EQ(summarize(run, {.card = find_card("H200")}).mfu.value(), 607.2 / 989.4);
}

TEST(RunSummary, NanDoesNotReachTheMedians) {
  MeasuredRun run = run_of(20);
  run.iterations[5].values.tflops_per_gpu = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(summarize(run, {}).tflops_per_gpu, 607.2);
}

}  // namespace
}  // namespace megalaunch
