#include "launcher/results/iteration_line.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>

namespace megalaunch {
namespace {

// The lines below were printed by real runs; the comment of each test names the public log that
// shows it.

// github.com/NVIDIA/Megatron-LM/issues/60, 2020, Megatron-LM 1.x: no consumed samples, no batch
// size, no loss yet.
TEST(IterationLine, OfMegatronLm1HasNoSamplesAndNoLossWhileAllIterationsAreSkipped) {
  const auto sample = parse_iteration_line(
      " iteration        5/  120000 | elapsed time per iteration (ms): 16491.5 | learning rate: "
      "0.000E+00 | loss scale: "
      "268435456.0 | number of skipped iterations:   5 | number of nan iterations:   0 |");
  IterationSample expected;
  expected.iteration = 5;
  expected.total_iterations = 120000;
  expected.ms_per_iteration = 16491.5;
  expected.learning_rate = 0;
  expected.loss_scale = 268435456.0;
  expected.skipped_iterations = 5;
  expected.nan_iterations = 0;
  EXPECT_EQ(sample, expected);
}

// github.com/NVIDIA/nccl/issues/743, 2022-10, Megatron-LM 3.0 (BERT: two losses).
TEST(IterationLine, OfMegatronLm3HasConsumedSamplesAndTheLanguageModelLossAmongOthers) {
  const auto sample = parse_iteration_line(
      " iteration       20/ 1000000 | consumed samples:           80 | elapsed time per iteration "
      "(ms): 140.6 | learning "
      "rate: 2.020E-08 | global batch size:     4 | lm loss: 1.005022E+01 | sop loss: 8.174902E-01 "
      "| loss scale: 32768.0 "
      "| grad norm: 217.199 | number of skipped iterations:   1 | number of nan iterations:   0 |");
  ASSERT_TRUE(sample);
  EXPECT_EQ(sample->iteration, 20);
  EXPECT_EQ(sample->total_iterations, 1000000);
  EXPECT_EQ(sample->consumed_samples, 80);
  EXPECT_EQ(sample->ms_per_iteration, 140.6);
  EXPECT_EQ(sample->learning_rate, 2.020e-8);
  EXPECT_EQ(sample->global_batch, 4);
  EXPECT_EQ(sample->lm_loss, 10.05022);
  EXPECT_EQ(sample->grad_norm, 217.199);
  EXPECT_EQ(sample->tflops_per_gpu, std::nullopt);
}

// github.com/NVIDIA/Megatron-LM/issues/756, 2024-04, Megatron-Core 0.6 (mixture of experts).
TEST(IterationLine, OfMegatronCore6HasATimestampAndTheThroughput) {
  const auto sample = parse_iteration_line(
      " [2024-04-06 02:59:36] iteration       43/     100 | consumed samples:         5504 | "
      "elapsed time per iteration "
      "(ms): 5444.9 | throughput per GPU (TFLOP/s/GPU): 239.8 | learning rate: 8.600000E-06 | "
      "global batch size:   128 | "
      "lm loss: 1.825991E+00 | load_balancing_loss: 1.019746E+00 | loss scale: 1.0 | grad norm: "
      "1.426 | num zeros: 0.0 | "
      "number of skipped iterations:   0 | number of nan iterations:   0 |");
  ASSERT_TRUE(sample);
  EXPECT_EQ(sample->iteration, 43);
  EXPECT_EQ(sample->total_iterations, 100);
  EXPECT_EQ(sample->tflops_per_gpu, 239.8);
  EXPECT_EQ(sample->lm_loss, 1.825991);
  EXPECT_EQ(sample->nan_iterations, 0);
}

// github.com/NVIDIA/Megatron-LM/pull/5662, 2026-07, Megatron-Core 0.19: microseconds in the
// timestamp.
TEST(IterationLine, OfMegatronCore19HasMicrosecondsInItsTimestamp) {
  const auto sample = parse_iteration_line(
      "[2026-07-10 05:46:31.627699] iteration       20/      20 | consumed samples:          320 | "
      "elapsed time per "
      "iteration (ms): 744.0 | learning rate: 0.000000E+00 | global batch size:    16 | lm loss: "
      "1.020935E+00 | loss "
      "scale: 1.0 | grad norm: 2.939 | number of skipped iterations:   0 | number of nan "
      "iterations:   0 |");
  ASSERT_TRUE(sample);
  EXPECT_EQ(sample->iteration, 20);
  EXPECT_EQ(sample->global_batch, 16);
  EXPECT_EQ(sample->lm_loss, 1.020935);
}

// github.com/alibaba/Pai-Megatron-Patch/issues/410, 2024-12: a collector's timestamp before the
// program's own.
TEST(IterationLine, OfPaiMegatronPatchMayCarryTwoTimestamps) {
  const auto sample = parse_iteration_line(
      "[2024-12-30 13:25:22]  [2024-12-30 13:25:21] iteration        1/      93 | consumed "
      "samples:          128 | "
      "elapsed time per iteration (ms): 9037407.9 | throughput per GPU (TFLOP/s/GPU): 14.6 | "
      "learning rate: "
      "9.997433E-06 | global batch size:   128 | lm loss: 1.564099E+00 | loss scale: 1.0 | grad "
      "norm: 0.672 | number of "
      "skipped iterations:   0 | number of nan iterations:   0 |\r\n");
  ASSERT_TRUE(sample);
  EXPECT_EQ(sample->iteration, 1);
  EXPECT_EQ(sample->total_iterations, 93);
  EXPECT_EQ(sample->ms_per_iteration, 9037407.9);
  EXPECT_EQ(sample->tflops_per_gpu, 14.6);
}

// A published Pai-Megatron-Patch run of Qwen2.5-VL-7B (backend Megatron-LM-250624), 2025-10, with
// tokens added by hand.
TEST(IterationLine, OfPaiMegatronPatch2025MayHaveTokensPerSecond) {
  const auto sample = parse_iteration_line(
      "[2025-10-24 09:52:15] iteration      480/     500 | consumed samples:        30720 | "
      "elapsed time per iteration "
      "(ms): 5533.0 | throughput per GPU (TFLOP/s/GPU): 560.9 | learning rate: 1.000000E-06 | "
      "global batch size:    64 | "
      "lm loss: 1.605485E+00 | loss scale: 1.0 | grad norm: 17.924 | tokens/sec/gpu: 11844.5 | "
      "number of skipped "
      "iterations:   0 | number of nan iterations:   0 |");
  ASSERT_TRUE(sample);
  EXPECT_EQ(sample->tokens_per_second_per_gpu, 11844.5);
  EXPECT_EQ(sample->consumed_samples, 30720);
}

// The OpenSeek README (FlagScale, Megatron-Core 0.12), 2025-05, through torchrun's --tee 3.
TEST(IterationLine, IsFoundBehindThePrefixOfTorchrun) {
  const auto sample = parse_iteration_line(
      "[default0]: [2025-05-27 15:23:07] iteration        1/    24000 | consumed samples:          "
      "1024 | elapsed time "
      "per iteration (ms): 271607.0 | throughput per GPU (TFLOP/s/GPU): 40.4 | learning rate: "
      "1.500000E-06 | global "
      "batch size:  1024 | lm loss: 1.192634E+01 | load_balancing_loss: 1.041994E+00 | loss scale: "
      "1.0 | grad norm: "
      "5.960 | num zeros: 0.0 | params norm: 238.330 | number of skipped iterations:    0 | number "
      "of nan iterations:    "
      "0 |");
  ASSERT_TRUE(sample);
  EXPECT_EQ(sample->total_iterations, 24000);
  EXPECT_EQ(sample->lm_loss, 11.92634);
  EXPECT_EQ(sample->grad_norm, 5.960);
}

// github.com/bigscience-workshop/Megatron-DeepSpeed/issues/396, 2023-08.
TEST(IterationLine, OfMegatronDeepSpeedHasItsOwnThroughputAndMayHaveANanNorm) {
  const auto sample = parse_iteration_line(
      " iteration     5426/  250000 | consumed samples:        43408 | consumed tokens:     "
      "88899584 | elapsed time per "
      "iteration (ms): 4247.9 | learning rate: 2.999E-04 | global batch size:     8 | loss scale: "
      "1.0 | grad norm: nan | "
      "actual seqlen:  2048 | number of skipped iterations:   0 | number of nan iterations:   0 | "
      "samples per second: "
      "1.883 | TFLOPs: 78.36 |");
  ASSERT_TRUE(sample);
  EXPECT_EQ(sample->tflops_per_gpu, 78.36);
  ASSERT_TRUE(sample->grad_norm);
  EXPECT_TRUE(std::isnan(*sample->grad_norm));
  EXPECT_EQ(sample->lm_loss, std::nullopt);
}

// Quoted in an IBM metrics parser for Megatron, 2023-10 (the bigcode fork): logger prefix and
// tokens-per-second-per-gpu.
TEST(IterationLine, OfTheBigCodeForkNamesItsTokensDifferently) {
  const auto sample = parse_iteration_line(
      "2023-10-26 21:31:16,318 [Rank 15]:  iteration       20/   20 | consumed samples:          "
      "20 | elapsed time per "
      "iteration (ms): 3874.0 | learning rate: 6.000E-06 | global batch size:    16 | lm loss: "
      "8.777018E+00 | loss "
      "scale: 1.0 | grad norm: 12.959 | number of skipped iterations:   0 | number of nan "
      "iterations:   0 | TFLOPs: "
      "320.33 | tokens-per-second-per-gpu: 2114.61 |");
  ASSERT_TRUE(sample);
  EXPECT_EQ(sample->tflops_per_gpu, 320.33);
  EXPECT_EQ(sample->tokens_per_second_per_gpu, 2114.61);
}

// The ModelLink README, 2023: its spelling of "global".
TEST(IterationLine, OfModelLinkMisspellsTheGlobalBatch) {
  const auto sample = parse_iteration_line(
      " iteration  11/50000 | consumed samples: 5632 | consumed tokens:  11534336 | elapsed time "
      "per iteration (ms):  "
      "52728.1 | learning rate:    1.499E-05 | gloabl batch size:  512 | lm loss:  1.376514E+01 | "
      "loss scale:  65536.0 |");
  ASSERT_TRUE(sample);
  EXPECT_EQ(sample->global_batch, 512);
  EXPECT_EQ(sample->loss_scale, 65536.0);
}

// Primus and other forks print "current/average".
TEST(IterationLine, TakesTheIterationsOwnValueBeforeTheAverage) {
  const auto sample = parse_iteration_line(
      " iteration 7/ 50 | elapsed time per iteration (ms): 5000.1/5100.2 | lm loss: 1.0E+01 |");
  ASSERT_TRUE(sample);
  EXPECT_EQ(sample->ms_per_iteration, 5000.1);
}

TEST(IterationLine, MayHaveBarsInItsPrefix) {
  const auto sample = parse_iteration_line(
      "[Rank 0 | Local Rank 0] INFO => iteration  1/  100 | consumed samples: 8 | loss: "
      "1.924620E+00 |");
  ASSERT_TRUE(sample);
  EXPECT_EQ(sample->iteration, 1);
  EXPECT_EQ(sample->lm_loss, 1.924620);
}

TEST(IterationLine, KnowsNanAndInfinityInAnyCapitals) {
  const auto sample = parse_iteration_line(
      "iteration 2/ 4 | lm loss: NAN | grad norm: inf | loss scale: -Infinity |");
  ASSERT_TRUE(sample);
  EXPECT_TRUE(std::isnan(sample->lm_loss.value()));
  EXPECT_EQ(sample->grad_norm, HUGE_VAL);
  EXPECT_EQ(sample->loss_scale, -HUGE_VAL);
}

TEST(IterationLine, CutOffMidwayGivesWhatIsThere) {
  const std::string line =
      " iteration       20/      50 | elapsed time per iteration (ms): 744.5 | lm loss: 1.5E+00 |";
  const std::size_t bar = line.find('|') + 1;
  for (std::size_t size = 0; size < line.size(); ++size) {
    const auto sample = parse_iteration_line(std::string_view(line).substr(0, size));
    EXPECT_EQ(sample.has_value(), size >= bar) << size;
  }
  EXPECT_EQ(parse_iteration_line(line.substr(0, bar))->iteration, 20);
}

TEST(IterationLine, IsNothingElse) {
  for (const char* line :
       {"", "|", "iteration", "iteration 5", "training ...", " iteration 5/10",
        "iteration x/10 | lm loss: 1 |", "iteration 5/ | lm loss: 1 |",
        "iterations 5/10 | lm loss: 1 |", "| iteration | loss |",
        "iteration 99999999999999999999/10 | lm loss: 1 |",
        "time (ms) | forward: 11716.18 | backward: 4770.37",
        " validation loss at iteration 100 | lm loss value: 2.0E+00 | lm loss PPL: 7.5E+00 |",
        "a | b | c | d | e | iteration 5/10 | lm loss: 1 |"}) {
    EXPECT_EQ(parse_iteration_line(line), std::nullopt) << line;
  }
}

// github.com/NVIDIA/Megatron-LM/pull/5662, 2026-07.
TEST(MemoryLine, GivesRankIterationAndFourFigures) {
  const auto sample = parse_memory_line(
      "[Rank 0] (after 20 iterations) memory (MB) | allocated: 3270.16 | max allocated: 5670.39 | "
      "reserved: 6406.00 | max "
      "reserved: 6406.00");
  ASSERT_TRUE(sample);
  EXPECT_EQ(sample->rank, 0);
  EXPECT_EQ(sample->iteration, 20);
  EXPECT_EQ(sample->allocated_mib, 3270.16);
  EXPECT_EQ(sample->max_allocated_mib, 5670.39);
  EXPECT_EQ(sample->reserved_mib, 6406.0);
  EXPECT_EQ(sample->peak_mib(), 6406.0);
}

// github.com/NVIDIA/Megatron-LM/issues/60, 2020.
TEST(MemoryLine, OfMegatronLm1NamesNoRank) {
  const auto sample = parse_memory_line(
      "after 5 iterations memory (MB) | allocated: 10250.5693359375 | max allocated: "
      "12606.06201171875 | reserved: 17482.0 "
      "| max reserved: 17482.0");
  ASSERT_TRUE(sample);
  EXPECT_EQ(sample->rank, std::nullopt);
  EXPECT_EQ(sample->iteration, 5);
  EXPECT_EQ(sample->max_allocated_mib, 12606.06201171875);
  EXPECT_EQ(sample->peak_mib(), 17482.0);
}

TEST(MemoryLine, OfTheNewestVersionMayCountTheWholeDevice) {
  const auto sample = parse_memory_line(
      "[default7]:[Rank 7] (after 2 iterations) memory (MB) | allocated: 20.50 | total device "
      "memory used: 60.00");
  ASSERT_TRUE(sample);
  EXPECT_EQ(sample->rank, 7);
  EXPECT_EQ(sample->device_mib, 60.0);
  EXPECT_EQ(sample->peak_mib(), 60.0);
}

TEST(MemoryLine, IsNoIterationLineAndTheOtherWayRound) {
  EXPECT_EQ(parse_iteration_line("[Rank 0] (after 2 iterations) memory (MB) | allocated: 1.0 |"),
            std::nullopt);
  EXPECT_EQ(parse_memory_line(" iteration 1/ 2 | lm loss: 1.0 |"), std::nullopt);
}

// A published Megatron-LM run of July 2024, and one of Megatron-Core 0.12.
TEST(MemoryEstimateLine, MayHaveTheActivationsAndTheTotal) {
  EXPECT_EQ(
      parse_memory_estimate_line("Theoretical memory footprints: weight and optimizer=7211.88 MB"),
      (MemoryEstimate{7211.88, std::nullopt, std::nullopt}));
  EXPECT_EQ(parse_memory_estimate_line(
                "[default0]:Theoretical memory footprints: weight and optimizer=35695.42 MB, "
                "activation=86554.12 MB, total=122249.54 MB\n"),
            (MemoryEstimate{35695.42, 86554.12, 122249.54}));
  EXPECT_EQ(parse_memory_estimate_line("Theoretical memory footprints: weight and optimizer= MB"),
            std::nullopt);
}

}  // namespace
}  // namespace megalaunch
