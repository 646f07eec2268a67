#include "launcher/results/measured_run.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launcher/results/samples.h"
#include "tests/lib/temp_dir.h"

namespace megalaunch {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

std::string lines(int from, int to, int total) {
  std::string text;
  for (int i = from; i <= to; ++i)
    text += fmt::format(
        "[default7]: [2024-11-07 16:27:21] iteration {}/{} | elapsed time per iteration (ms): {}.0 "
        "|\n",
        i, total, 1000 + i);
  return text;
}

std::vector<std::int64_t> iterations(const MeasuredRun& run) {
  std::vector<std::int64_t> numbers;
  for (const auto& iteration : run.iterations) numbers.push_back(iteration.values.iteration);
  return numbers;
}

MeasuredRun read(const std::filesystem::path& path) {
  const auto runs = find_runs(path);
  EXPECT_TRUE(runs && runs->size() == 1);
  auto run = read_measured_run(runs->at(0));
  EXPECT_TRUE(run) << run.error().message;
  return std::move(*run);
}

TEST(MeasuredRun, OfTorchrunTakesIterationsFromTheRankThatPrintsMostAndMemoryFromAll) {
  TempDir dir;
  dir.write("r/attempt_0/0/stdout.log",
            "[Rank 0] (after 1 iterations) memory (MB) | allocated: 5.0 | max reserved: 70.0\n" +
                lines(1, 1, 3));
  dir.write(
      "r/attempt_0/7/stdout.log",
      lines(1, 3, 3) +
          "[Rank 16] (after 1 iterations) memory (MB) | allocated: 5.0 | max reserved: 60.0\n");
  const MeasuredRun run = read(dir.path());
  EXPECT_EQ(run.record.name, "r");
  EXPECT_EQ(run.record.outcome, "ok");
  EXPECT_THAT(iterations(run), ElementsAre(1, 2, 3));
  EXPECT_THAT(run.rank_memory_mib, ElementsAre(Pair(0, 70.0), Pair(16, 60.0)));
  EXPECT_EQ(run.max_memory_mib(), 70.0);
}

TEST(MeasuredRun, AttemptsOfTorchrunAreGenerations) {
  TempDir dir;
  dir.write("r/attempt_0/0/stdout.log", lines(1, 2, 9));
  dir.write("r/attempt_1/0/stdout.log", lines(2, 3, 9));
  const MeasuredRun run = read(dir.path());
  EXPECT_THAT(iterations(run), ElementsAre(1, 2, 2, 3));
  EXPECT_EQ(run.iterations[1].generation, 0);
  EXPECT_EQ(run.iterations[2].generation, 1);
  EXPECT_EQ(run.record.outcome, "");
}

TEST(MeasuredRun, OutOfMemoryAndTracebacksShowInTheOutcome) {
  TempDir dir;
  dir.write("a.log", lines(1, 2, 9) + "Traceback (most recent call last):\nRuntimeError: x\n");
  dir.write("b.log",
            "Traceback (most recent call last):\ntorch.OutOfMemoryError: CUDA out of memory. Tried "
            "to ...\n");
  EXPECT_EQ(read(dir.path() / "a.log").record.outcome, "error");
  EXPECT_EQ(read(dir.path() / "b.log").record.outcome, "oom");
}

TEST(MeasuredRun, LinesBeyondAllBoundsAndWithoutEndDoNoHarm) {
  TempDir dir;
  std::string text = lines(1, 1, 3) + std::string(3 << 20, 'x') + "\n" + lines(2, 2, 3) +
                     std::string(100, '\0') + "\n";
  text += lines(3, 3, 3);
  text.pop_back();
  EXPECT_THAT(iterations(read(dir.write("a.log", text))), ElementsAre(1, 2, 3));
}

TEST(MeasuredRun, OfOursComesFromTheRecordAndTheSamplesNotFromTheLogs) {
  TempDir dir;
  RunRecord record;
  record.name = "job";
  record.outcome = "error";
  record.cause = "nccl-timeout";
  ASSERT_TRUE(write_run_record(dir.path(), record));
  dir.write("rank_0.log", lines(1, 9, 9));
  {
    auto writer = SampleWriter::open(samples_path(dir.path(), 0));
    IterationSample sample;
    sample.iteration = 5;
    ASSERT_TRUE(writer->add(WallTime(seconds(10)), 0, 7, sample));
    GpuSample gpu{
        .gpu = 3, .memory_mib = 100.0, .ecc_errors = 4, .xid_errors = 0, .name = "NVIDIA H200"};
    ASSERT_TRUE(writer->add(WallTime(seconds(11)), 0, 1, {gpu}));
    gpu.memory_mib = 50.0;
    gpu.xid_errors = 2;
    gpu.ecc_errors = 5;
    ASSERT_TRUE(writer->add(WallTime(seconds(12)), 0, 1, {gpu}));
  }
  const MeasuredRun run = read(dir.path());
  record.card = "NVIDIA H200";
  EXPECT_EQ(run.record, record);
  EXPECT_THAT(iterations(run), ElementsAre(5));
  EXPECT_EQ(run.iterations[0].at, WallTime(seconds(10)));
  EXPECT_THAT(run.gpu_memory_mib, ElementsAre(Pair(Pair(1, 3), 100.0)));
  EXPECT_EQ(run.xid_errors, 2);
  EXPECT_EQ(run.ecc_errors, 1);
}

TEST(MeasuredRun, WithoutSamplesOursIsReadFromItsLogs) {
  TempDir dir;
  RunRecord record;
  record.name = "job";
  ASSERT_TRUE(write_run_record(dir.path(), record));
  dir.write("generation_0/rank_7.log", lines(1, 2, 9));
  const MeasuredRun run = read(dir.path());
  EXPECT_EQ(run.record.name, "job");
  EXPECT_THAT(iterations(run), ElementsAre(1, 2));
}

TEST(MeasuredRun, ADamagedRecordIsAnErrorThatNamesTheFile) {
  TempDir dir;
  dir.write("run.json", "nonsense");
  const auto run = read_measured_run({"x", dir.path(), {}});
  ASSERT_FALSE(run);
  EXPECT_THAT(run.error().message, HasSubstr("run.json: not JSON"));
}

}  // namespace
}  // namespace megalaunch
