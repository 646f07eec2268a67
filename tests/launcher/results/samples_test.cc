#include "launcher/results/samples.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "tests/lib/temp_dir.h"

namespace megalaunch {
namespace {

using testing::EndsWith;
using testing::StartsWith;

const WallTime kTime{milliseconds(1'730'996'841'250)};

IterationSample iteration(std::int64_t number) {
  IterationSample sample;
  sample.iteration = number;
  sample.total_iterations = 100;
  sample.ms_per_iteration = 25003.5;
  sample.tflops_per_gpu = 607.2;
  sample.lm_loss = 1.825991;
  sample.nan_iterations = 0;
  return sample;
}

SampleWriter open(const std::filesystem::path& path,
                  std::int64_t limit = SampleWriter::kDefaultLimit) {
  auto writer = SampleWriter::open(path, limit);
  EXPECT_TRUE(writer) << writer.error().message;
  return std::move(*writer);
}

TEST(Samples, AnIterationIsOneLineOfJson) {
  EXPECT_EQ(to_json_line({kTime, 1, SampledIteration{31, iteration(43)}}),
            "{\"kind\":\"iteration\",\"t\":1730996841.250,\"generation\":1,\"rank\":31,"
            "\"iteration\":43,\"total\":100,"
            "\"ms\":25003.5,\"tflops\":607.2,\"loss\":1.825991,\"nan\":0}\n");
}

TEST(Samples, AGpuIsOneLineOfJson) {
  GpuSample gpu{3, 67710.5, 98, 61, 655.25, 0, 2, 79};
  EXPECT_EQ(to_json_line({kTime, 0, SampledGpu{2, gpu}}),
            "{\"kind\":\"gpu\",\"t\":1730996841.250,\"generation\":0,\"node\":2,\"gpu\":3,\"memory_"
            "mib\":67710.5,"
            "\"utilization\":98,\"temperature\":61,\"power_w\":655.25,\"ecc\":0,\"last_xid\":79,"
            "\"xid\":2}\n");
  EXPECT_EQ(to_json_line({kTime, 0, SampledGpu{0, GpuSample{}}}),
            "{\"kind\":\"gpu\",\"t\":1730996841.250,\"generation\":0,\"node\":0,\"gpu\":0}\n");
}

TEST(Samples, EveryKindComesBackFromItsLine) {
  const GpuSample gpu{3, 67710.5, 98, 61, 655.25, 0, 2, 79, "NVIDIA H100"};
  for (const Sample& sample :
       {Sample{kTime, 1, SampledIteration{31, iteration(43)}},
        Sample{kTime, 2, SampledMemory{4, 1234.5}}, Sample{kTime, 0, SampledGpu{2, gpu}}}) {
    const std::string line = to_json_line(sample);
    const auto back = parse_json_line(line);
    ASSERT_TRUE(back) << line;
    EXPECT_EQ(to_json_line(*back), line);
    EXPECT_EQ(back->at, sample.at);
  }
}

TEST(Samples, NanAndInfinityAreWords) {
  IterationSample values = iteration(1);
  values.lm_loss = std::nan("");
  values.grad_norm = HUGE_VAL;
  const std::string line = to_json_line({kTime, 0, SampledIteration{0, values}});
  EXPECT_THAT(line, testing::HasSubstr("\"loss\":\"nan\",\"grad_norm\":\"inf\""));
  const auto back = std::get<SampledIteration>(parse_json_line(line)->what).values;
  EXPECT_TRUE(std::isnan(*back.lm_loss));
  EXPECT_EQ(back.grad_norm, HUGE_VAL);
}

TEST(Samples, DamagedLinesAreNothing) {
  for (const char* line : {"", "{", "[]", "{\"kind\":\"full\"}", "{\"kind\":\"gpu\",\"t\":1}",
                           "{\"kind\":\"iteration\",\"t\":\"x\",\"iteration\":1}",
                           "{\"kind\":\"memory\",\"t\":1e300,\"mib\":1}",
                           "{\"kind\":\"memory\",\"t\":-1,\"mib\":1}", "{\"t\":1}"})
    EXPECT_FALSE(parse_json_line(line)) << line;
}

TEST(SampleWriter, AppendsWhatReadSamplesGivesInTheOrderOfTime) {
  TempDir dir;
  auto first = open(samples_path(dir.path(), 0));
  auto second = open(samples_path(dir.path(), 3));
  ASSERT_TRUE(first.add(kTime + seconds(2), 0, 31, iteration(2)));
  ASSERT_TRUE(second.add(kTime + seconds(1), 0, 3, std::vector<GpuSample>(8)));
  ASSERT_TRUE(first.add(kTime, 0, 0, MemorySample{4, 2, 10.0, 20.0, 30.0, 40.0, {}}));
  const auto samples = read_samples(dir.path());
  ASSERT_EQ(samples.size(), 10u);
  EXPECT_EQ(std::get<SampledMemory>(samples.front().what).rank, 4);
  EXPECT_EQ(std::get<SampledMemory>(samples.front().what).mib, 40.0);
  EXPECT_EQ(std::get<SampledGpu>(samples[1].what).node, 3);
  EXPECT_EQ(std::get<SampledIteration>(samples.back().what).values, iteration(2));
}

TEST(SampleWriter, ALineTornByACrashSpoilsOnlyItself) {
  TempDir dir;
  const std::string whole = to_json_line({kTime, 0, SampledIteration{0, iteration(1)}});
  const auto path = dir.write("samples.jsonl", whole + whole.substr(0, 30));
  auto writer = open(path);
  ASSERT_TRUE(writer.add(kTime + seconds(1), 0, 0, iteration(2)));
  const auto samples = read_samples(dir.path());
  ASSERT_EQ(samples.size(), 2u);
  EXPECT_EQ(std::get<SampledIteration>(samples[1].what).values.iteration, 2);
}

TEST(SampleWriter, StopsAtItsLimitAndCountsWhatItDrops) {
  TempDir dir;
  const auto path = samples_path(dir.path(), 0);
  auto writer = open(path, 1000);
  for (int i = 1; i <= 100; ++i) ASSERT_TRUE(writer.add(kTime, 0, 0, iteration(i)));
  const std::string text = read_file(path);
  EXPECT_LE(text.size(), 1000u + 20);
  EXPECT_THAT(text, EndsWith("}\n{\"kind\":\"full\"}\n"));
  EXPECT_EQ(writer.dropped() + static_cast<std::int64_t>(read_samples(dir.path()).size()), 100);
}

TEST(SampleWriter, FromHalfTheLimitOnKeepsOneOfFourRoundsOfGpuSamples) {
  TempDir dir;
  const std::vector<GpuSample> gpus(8);
  const auto round = static_cast<std::int64_t>(8 * to_json_line({kTime, 0, SampledGpu{}}).size());
  auto writer = open(samples_path(dir.path(), 0), 200 * round);
  const auto kept_of = [&](int rounds) {
    const auto before = static_cast<std::int64_t>(read_samples(dir.path()).size());
    for (int i = 0; i < rounds; ++i) EXPECT_TRUE(writer.add(kTime, 0, 0, gpus));
    return (static_cast<std::int64_t>(read_samples(dir.path()).size()) - before) / 8;
  };
  EXPECT_EQ(kept_of(101), 101);
  EXPECT_EQ(kept_of(80), 20);
  EXPECT_EQ(writer.dropped(), 60 * 8);
}

TEST(SampleWriter, SaysTheCardsNameOnce) {
  TempDir dir;
  auto writer = open(samples_path(dir.path(), 0));
  const std::vector<GpuSample> gpus{{.gpu = 0, .name = "NVIDIA \"H100\""}};
  ASSERT_TRUE(writer.add(kTime, 0, 0, gpus));
  ASSERT_TRUE(writer.add(kTime + seconds(1), 0, 0, gpus));
  const auto samples = read_samples(dir.path());
  ASSERT_EQ(samples.size(), 2u);
  EXPECT_EQ(std::get<SampledGpu>(samples[0].what).values.name, "NVIDIA \"H100\"");
  EXPECT_EQ(std::get<SampledGpu>(samples[1].what).values.name, "");
}

TEST(SampleWriter, AFullDiskIsAnErrorThatNamesTheFileAndTheLoss) {
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  auto writer = open("/dev/full");
  const auto added = writer.add(kTime, 0, 0, iteration(1));
  ASSERT_FALSE(added);
  EXPECT_EQ(added.error().code, ENOSPC);
  EXPECT_THAT(added.error().message, StartsWith("append to /dev/full: "));
  EXPECT_EQ(writer.dropped(), 1);
}

TEST(Samples, ADirectoryWithoutFilesHasNone) {
  TempDir dir;
  EXPECT_TRUE(read_samples(dir.path()).empty());
  EXPECT_TRUE(read_samples(dir.path() / "missing").empty());
}

}  // namespace
}  // namespace megalaunch
