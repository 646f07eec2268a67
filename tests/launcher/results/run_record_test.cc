#include "launcher/results/run_record.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/lib/temp_dir.h"

namespace megalaunch {
namespace {

using testing::HasSubstr;

RunRecord full_record() {
  RunRecord record;
  record.name = "llama3-8b-fp8";
  record.run_id = "20241107T162721-llama3-8b-fp8";
  record.model = "llama3.1-8b";
  record.size = find_known_model("llama3.1-8b")->size;
  record.precision = "fp8";
  record.nodes = 4;
  record.gpus = 32;
  record.tp = 1;
  record.pp = 2;
  record.cp = 1;
  record.mbs = 1;
  record.gbs = 1024;
  record.seq = 8192;
  record.activations = "selective";
  record.virtual_stage_layers = 4;
  record.card = "NVIDIA H100 80GB HBM3";
  record.started = WallTime(seconds(1'730'996'841));
  record.ended = WallTime(seconds(1'731'000'000));
  record.generations = 2;
  record.outcome = "error";
  record.exit_code = 1;
  record.cause = "illegal-memory-access";
  return record;
}

TEST(RunRecord, ComesBackFromItsFileAsItWas) {
  TempDir dir;
  ASSERT_TRUE(write_run_record(dir.path() / "logs" / "run", full_record()));
  const auto read = read_run_record(dir.path() / "logs" / "run");
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(*read, full_record());
}

TEST(RunRecord, LeavesOutWhatIsNotKnown) {
  RunRecord record;
  record.name = "echo";
  EXPECT_EQ(to_json(record).dump(), R"({"name":"echo"})");
  EXPECT_EQ(run_record_from_json(to_json(record)).value(), record);
}

TEST(RunRecord, TimesAreInUtcToTheSecond) {
  EXPECT_EQ(to_json(full_record())["started"], "2024-11-07T16:27:21Z");
}

TEST(RunRecord, IsReplacedAsAWholeAndLeavesNoOtherFile) {
  TempDir dir;
  RunRecord record = full_record();
  ASSERT_TRUE(write_run_record(dir.path(), record));
  record.outcome = "ok";
  ASSERT_TRUE(write_run_record(dir.path(), record));
  EXPECT_EQ(read_run_record(dir.path())->outcome, "ok");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir.path()), {}), 1);
}

TEST(RunRecord, OfANewerLauncherMayHaveMoreKeys) {
  const auto record = run_record_from_json({{"name", "x"}, {"colour", "red"}, {"tp", nullptr}});
  ASSERT_TRUE(record);
  EXPECT_EQ(record->tp, std::nullopt);
}

TEST(RunRecord, AWrongTypeIsAnErrorThatNamesTheKey) {
  for (const auto& json : {nlohmann::json{{"tp", "two"}}, nlohmann::json{{"tp", 1.5}}}) {
    const auto record = run_record_from_json(json);
    ASSERT_FALSE(record);
    EXPECT_THAT(record.error().message, HasSubstr("key 'tp'"));
  }
  EXPECT_THAT(run_record_from_json({{"started", "yesterday"}}).error().message,
              HasSubstr("key 'started'"));
  EXPECT_THAT(run_record_from_json({{"size", {{"layers", 1}}}}).error().message,
              HasSubstr("key 'size'"));
  EXPECT_FALSE(run_record_from_json(nlohmann::json::array()));
}

TEST(RunRecord, MissingAndDamagedFilesAreDifferentErrors) {
  TempDir dir;
  EXPECT_EQ(read_run_record(dir.path()).error().kind, Error::Kind::kUnavailable);
  dir.write("run.json", "{\"name\": ");
  const auto damaged = read_run_record(dir.path());
  EXPECT_EQ(damaged.error().kind, Error::Kind::kUsage);
  EXPECT_THAT(damaged.error().message, HasSubstr("run.json: not JSON"));
}

TEST(RunRecord, ADirectoryThatCannotBeMadeIsAnErrorThatNamesIt) {
  TempDir dir;
  const auto file = dir.write("file", "");
  const auto written = write_run_record(file / "run", full_record());
  ASSERT_FALSE(written);
  EXPECT_THAT(written.error().message, HasSubstr((file / "run").string()));
}

TEST(RunRecord, IsCompletedOnlyWhereItKnowsNothing) {
  RunRecord record;
  record.tp = 8;
  record.precision = "bf16";
  record.complete_from(full_record());
  EXPECT_EQ(record.tp, 8);
  EXPECT_EQ(record.precision, "bf16");
  EXPECT_EQ(record.pp, 2);
  EXPECT_EQ(record.size, full_record().size);
}

TEST(RunRecord, ActivationsHaveOneWordEach) {
  EXPECT_EQ(activations_word("false"), "none");
  EXPECT_EQ(activations_word(""), "none");
  EXPECT_EQ(activations_word("sel"), "selective");
  EXPECT_EQ(activations_word("offload"), "offload");
}

}  // namespace
}  // namespace megalaunch
