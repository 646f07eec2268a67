#include "launcher/results/run_flags.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace megalaunch {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

RunRecord llama(int gpus, int pp = 2) {
  RunRecord record;
  record.size = find_known_model("llama3.1-8B")->size;
  record.precision = "fp8";
  record.gpus = gpus;
  record.nodes = gpus / 8;
  record.tp = 1;
  record.pp = pp;
  record.cp = 1;
  record.gbs = 1024;
  record.seq = 8192;
  record.activations = "none";
  return record;
}

std::optional<std::string> flops(const RunRecord& record, double tflops, double ms) {
  return flops_flag(record, tflops, ms, tflops * ms / 1000);
}

TEST(FlopsFlag, NumbersThatFitTheModelAreNotFlagged) {
  EXPECT_EQ(flops(llama(32), 644.1, 23570.5), std::nullopt);
  EXPECT_EQ(flops(llama(32), 607.2, 25003.0), std::nullopt);
}

TEST(FlopsFlag, NumbersOfHalfTheGpusAreFlaggedWithTheCountThatFits) {
  const auto flag = flops(llama(32), 418.0, 72633.6);
  ASSERT_TRUE(flag);
  EXPECT_THAT(*flag, StartsWith("flops: 418.0 TFLOP/s x 72633.6 ms x 32 GPUs"));
  EXPECT_THAT(*flag, HasSubstr("2.00 times"));
  EXPECT_THAT(*flag, HasSubstr("it fits 16 GPUs"));
}

TEST(FlopsFlag, ATenthOfAPercentIsMoreThanRounding) {
  const auto flag = flops(llama(32), 644.1 * 1.001, 23570.5);
  ASSERT_TRUE(flag);
  EXPECT_THAT(*flag, HasSubstr("0.10 % more than"));
  EXPECT_THAT(*flag, HasSubstr("different iterations"));
}

TEST(FlopsFlag, RoundingOfSmallNumbersIsAllowedFor) {
  const double work = flops_per_iteration(llama(8).size, 1024, 8192) / 8e12;
  EXPECT_EQ(flops(llama(8), 14.6, work / 14.64 * 1000), std::nullopt);
}

TEST(FlopsFlag, TheCausalCountOfNewerVersionsFitsToo) {
  const double work =
      flops_per_iteration(llama(32).size, 1024, 8192, AttentionFlops::kCausal) / 32e12;
  EXPECT_EQ(flops(llama(32), 500.0, work / 500 * 1000), std::nullopt);
}

TEST(FlopsFlag, WithoutSizesThereIsNothingToCompare) {
  RunRecord record = llama(32);
  record.size = {};
  EXPECT_EQ(flops(record, 418.0, 72633.6), std::nullopt);
  EXPECT_EQ(flops(llama(32), 0, 0), std::nullopt);
}

TEST(PeakFlag, NothingIsFasterThanTheCard) {
  RunRecord record = llama(32);
  EXPECT_EQ(peak_flag(record, default_card(), 1500), std::nullopt);
  record.precision = "bf16";
  EXPECT_THAT(peak_flag(record, default_card(), 1500).value(),
              StartsWith("peak: 1500.0 TFLOP/s is more than the 989.4"));
}

TEST(IterationsFlag, SaysHowManyCounted) {
  EXPECT_EQ(iterations_flag(10, 10), std::nullopt);
  EXPECT_EQ(iterations_flag(9, 10), "iterations: only 9 counted after warm-up, fewer than 10");
}

MeasuredRun run_with_ranks(int pp, std::initializer_list<int> ranks) {
  MeasuredRun run;
  run.record = llama(32, pp);
  for (const int rank : ranks) run.rank_memory_mib[rank] = 50000;
  return run;
}

TEST(MemoryFlag, FiguresOfAllStagesAreNotFlagged) {
  EXPECT_EQ(memory_flag(run_with_ranks(4, {0, 8, 16, 24})), std::nullopt);
  EXPECT_EQ(memory_flag(run_with_ranks(1, {0})), std::nullopt);
}

TEST(MemoryFlag, FiguresOfOneStageAreFlagged) {
  EXPECT_THAT(memory_flag(run_with_ranks(4, {0, 1, 7})).value(),
              HasSubstr("of pipeline stage 0 of 4 only"));
  EXPECT_THAT(memory_flag(run_with_ranks(4, {24, 31})).value(), HasSubstr("stage 0 of 4"));
}

TEST(MemoryFlag, GpusCountByNodeAndIndex) {
  MeasuredRun run;
  run.record = llama(32, 2);  // stage 0 is nodes 0 and 1
  run.gpu_memory_mib[{0, 0}] = 50000;
  run.gpu_memory_mib[{1, 7}] = 50000;
  EXPECT_TRUE(memory_flag(run));
  run.gpu_memory_mib[{2, 0}] = 40000;
  EXPECT_EQ(memory_flag(run), std::nullopt);
}

TEST(MemoryFlag, ATablesFigureOfALaterStageIsRecognisedByItsSize) {
  const RunRecord record = llama(32, 4);
  EXPECT_EQ(memory_flag(record, 54416), std::nullopt);
  EXPECT_THAT(memory_flag(record, 38722).value(), HasSubstr("stage 2 of 4"));
}

TEST(HardwareFlag, SaysWhatTheGpusReported) {
  MeasuredRun run;
  EXPECT_EQ(hardware_flag(run), std::nullopt);
  run.xid_errors = 1;
  EXPECT_EQ(hardware_flag(run),
            "hardware: GPUs reported 1 critical Xid event and 0 uncorrected ECC errors");
}

}  // namespace
}  // namespace megalaunch
