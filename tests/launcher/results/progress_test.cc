#include "launcher/results/progress.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace megalaunch {
namespace {

using testing::HasSubstr;
using testing::Not;

const WallTime kStart{seconds(1'730'996'841)};

std::string iteration_line(int iteration, double loss = 2.5, int total = 1000) {
  return fmt::format(
      " [2024-11-07 16:27:21] iteration {:8}/{:8} | consumed samples: 1 | elapsed time per "
      "iteration (ms): 25003.0 | "
      "throughput per GPU (TFLOP/s/GPU): 607.2 | learning rate: 1.0E-05 | global batch size:  1024 "
      "| lm loss: {:.6E} | "
      "number of skipped iterations:   0 | number of nan iterations:   0 |",
      iteration, total, loss);
}

/// Ten iterations of 25 s, the last one at kStart + 250 s.
Progress after_ten_iterations(Progress::Job job = {.gpus = 32, .sequence_length = 8192}) {
  Progress progress(kStart, job);
  for (int i = 1; i <= 10; ++i)
    progress.feed(31, iteration_line(i, 3.0 - 0.1 * i), kStart + seconds(25 * i));
  return progress;
}

TEST(Progress, StatusHasEverythingThatTheLinesSay) {
  Progress progress = after_ten_iterations();
  progress.feed(
      0, "[Rank 0] (after 2 iterations) memory (MB) | allocated: 1.0 | max reserved: 67710.00",
      kStart);
  EXPECT_EQ(progress.status_line(200, kStart + seconds(250)),
            "iteration 10/1000 1.0% | 25.00 s | 607.2 TFLOP/s/GPU | 10.5k tokens/s/GPU | loss 2 ↓ "
            "| 66.1 GiB | ETA 6h52m");
  EXPECT_EQ(progress.summary_line(kStart + seconds(250)),
            "progress: " + progress.status_line(200, kStart + seconds(250)));
}

TEST(Progress, BeforeTheFirstIterationTheStatusSaysHowLong) {
  Progress progress(kStart);
  progress.feed(0, "loading checkpoint", kStart + seconds(1));
  EXPECT_EQ(progress.latest(), std::nullopt);
  EXPECT_EQ(progress.status_line(80, kStart + seconds(312)), "no iteration line yet, 5m12s");
}

TEST(Progress, ANarrowTerminalLosesTheLeastImportantFirst) {
  const Progress progress = after_ten_iterations();
  const WallTime now = kStart + seconds(250);
  EXPECT_EQ(progress.status_line(60, now),
            "iteration 10/1000 1.0% | 25.00 s | loss 2 ↓ | ETA 6h52m");
  EXPECT_EQ(progress.status_line(40, now), "iteration 10/1000 1.0% | ETA 6h52m");
  EXPECT_EQ(progress.status_line(9, now), "iteration");
  EXPECT_EQ(progress.status_line(0, now), "");
}

TEST(Progress, PaceCountsTheTimeBetweenIterationsToo) {
  Progress progress(kStart);
  progress.feed(0, iteration_line(100), kStart);
  progress.feed(0, iteration_line(200),
                kStart + seconds(3000));  // 30 s each with a save, though the line says 25 s
  EXPECT_EQ(progress.remaining(kStart + seconds(3000)), seconds(800 * 30));
  EXPECT_EQ(progress.remaining(kStart + seconds(3600)), seconds(800 * 30 - 600));
}

TEST(Progress, OneLineIsEnoughForAnEstimate) {
  Progress progress(kStart);
  progress.feed(0, iteration_line(900), kStart);
  EXPECT_EQ(progress.remaining(kStart), seconds(2500));
}

TEST(Progress, OnlyOneRanksIterationLinesCount) {
  Progress progress(kStart);
  EXPECT_TRUE(progress.feed(3, iteration_line(7), kStart));
  EXPECT_FALSE(progress.feed(1, iteration_line(6), kStart));
  EXPECT_FALSE(progress.feed(2, iteration_line(8), kStart));
  EXPECT_EQ(progress.latest()->iteration, 7);
  EXPECT_EQ(progress.generation(), 0);
}

TEST(Progress, ALinePrintedTwiceCountsOnce) {
  Progress progress = after_ten_iterations();
  EXPECT_FALSE(progress.feed(31, iteration_line(10), kStart + seconds(250)));
  EXPECT_EQ(progress.generation(), 0);
}

TEST(Progress, ARestartThatRepeatsOldIterationsHasNotAdvanced) {
  Progress progress = after_ten_iterations();
  EXPECT_TRUE(progress.advanced());
  progress.begin_generation(1, kStart + seconds(300));
  EXPECT_EQ(progress.latest(), std::nullopt);
  EXPECT_EQ(progress.furthest_iteration(), 10);
  EXPECT_FALSE(progress.advanced());
  for (int i = 6; i <= 10; ++i) progress.feed(30, iteration_line(i), kStart + seconds(300 + i));
  EXPECT_FALSE(progress.advanced());
  progress.feed(30, iteration_line(11), kStart + seconds(320));
  EXPECT_TRUE(progress.advanced());
  EXPECT_THAT(progress.status_line(200, kStart + seconds(320)), HasSubstr("| generation 1"));
}

TEST(Progress, AnIterationThatGoesBackBeginsAGenerationByItself) {
  Progress progress = after_ten_iterations();
  progress.feed(31, iteration_line(5), kStart + seconds(900));
  EXPECT_EQ(progress.generation(), 1);
  EXPECT_EQ(progress.latest()->iteration, 5);
  EXPECT_FALSE(progress.advanced());
  EXPECT_EQ(progress.remaining(kStart + seconds(900)),
            seconds(995 * 25 + 3));  // from the line again: 995 x 25.003 s
}

TEST(Progress, LossDirectionIsOfAveragesNotOfNeighbours) {
  Progress falling(kStart);
  Progress rising(kStart);
  Progress flat(kStart);
  for (int i = 1; i <= 40; ++i) {
    const double noise = i % 2 == 0 ? 0.2 : -0.2;
    falling.feed(0, iteration_line(i, 5 - 0.05 * i + noise), kStart + seconds(i));
    rising.feed(0, iteration_line(i, 2 + 0.05 * i + noise), kStart + seconds(i));
    flat.feed(0, iteration_line(i, 2), kStart + seconds(i));
  }
  EXPECT_THAT(falling.status_line(200, kStart), HasSubstr("↓"));
  EXPECT_THAT(rising.status_line(200, kStart), HasSubstr("↑"));
  EXPECT_THAT(flat.status_line(200, kStart), HasSubstr("→"));
}

TEST(Progress, ANanLossIsShownAndSpoilsNoAverage) {
  Progress progress = after_ten_iterations();
  progress.feed(31, " iteration 11/1000 | lm loss: nan | grad norm: nan |", kStart + seconds(275));
  EXPECT_THAT(progress.status_line(200, kStart + seconds(275)), HasSubstr("loss nan ↓"));
}

TEST(Progress, SilenceOfSeveralIterationTimesIsSaid) {
  const Progress progress = after_ten_iterations();
  EXPECT_THAT(progress.status_line(200, kStart + seconds(250 + 120)), Not(HasSubstr("silent")));
  EXPECT_THAT(progress.status_line(200, kStart + seconds(250 + 130)),
              HasSubstr("| silent 2m10s |"));
}

TEST(Progress, TokensPerSecondNeedTheLengthUnlessTheLineHasThem) {
  EXPECT_EQ(after_ten_iterations({}).tokens_per_second_per_gpu(), std::nullopt);
  EXPECT_NEAR(after_ten_iterations().tokens_per_second_per_gpu().value(),
              1024.0 * 8192 / 25.003 / 32, 1e-6);
  Progress progress(kStart);
  progress.feed(0, " iteration 11/1000 | tokens/sec/gpu: 11844.5 |", kStart);
  EXPECT_EQ(progress.tokens_per_second_per_gpu(), 11844.5);
}

}  // namespace
}  // namespace megalaunch
