#include "launcher/results/log_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/lib/temp_dir.h"

namespace megalaunch {
namespace {

using testing::ElementsAre;
using testing::Field;
using Path = std::filesystem::path;

std::vector<std::string> names(const std::vector<RunFiles>& runs) {
  std::vector<std::string> result;
  for (const RunFiles& run : runs) result.push_back(run.name);
  return result;
}

TEST(LogFiles, ADirectoryWithARecordOwnsAllLogsBelowIt) {
  const auto runs =
      group_run_files("/l", {"/l/a/run.json", "/l/a/samples.jsonl", "/l/a/generation_1/rank_3.log",
                             "/l/a/generation_0/rank_3.log", "/l/b/run.json"});
  ASSERT_THAT(names(runs), ElementsAre("a", "b"));
  EXPECT_EQ(runs[0].record_directory, Path("/l/a"));
  EXPECT_THAT(runs[0].logs,
              ElementsAre("/l/a/generation_0/rank_3.log", "/l/a/generation_1/rank_3.log"));
  EXPECT_TRUE(runs[1].logs.empty());
}

TEST(LogFiles, OlderPartsOfALogComeBeforeIt) {
  const auto runs = group_run_files(
      "/l", {"/l/run.json", "/l/0/stdout.log", "/l/0/stdout.log.1", "/l/0/stdout.log.10",
             "/l/0/stdout.log.2", "/l/0/error.json", "/l/0/core.123", "/l/1/stdout.log"});
  ASSERT_EQ(runs.size(), 1u);
  EXPECT_THAT(runs[0].logs, ElementsAre("/l/0/stdout.log.10", "/l/0/stdout.log.2",
                                        "/l/0/stdout.log.1", "/l/0/stdout.log", "/l/1/stdout.log"));
}

TEST(LogFiles, TheSearchedDirectoryItselfMayBeTheRun) {
  const auto runs = group_run_files("/l/a", {"/l/a/run.json", "/l/a/rank_0.log"});
  ASSERT_THAT(names(runs), ElementsAre("."));
  EXPECT_THAT(runs[0].logs, ElementsAre("/l/a/rank_0.log"));
}

TEST(LogFiles, NodesThatStartWithinTwoMinutesAreOneRun) {
  const auto runs = group_run_files("/o", {"/o/logs/20241107T162721/333_ab/attempt_0/0/stdout.log",
                                           "/o/logs/20241107T162723/333_cd/attempt_0/7/stdout.log",
                                           "/o/logs/training-log-0.20241107T162722.txt",
                                           "/o/logs/training-log-1.20241107T162801.txt"});
  ASSERT_EQ(runs.size(), 1u);
  EXPECT_EQ(runs[0].name, "logs");
  EXPECT_EQ(runs[0].logs.size(), 4u);
}

TEST(LogFiles, LaterStartsInOnePlaceAreRunsOfTheirOwnNamedByTheirTime) {
  const auto runs = group_run_files(
      "/o", {"/o/training-log-0.20241107T162722.txt", "/o/training-log-1.20241107T162725.txt",
             "/o/training-log-0.20241107T190000.txt"});
  EXPECT_THAT(names(runs), ElementsAre("20241107T162722", "20241107T190000"));
  EXPECT_EQ(runs[0].logs.size(), 2u);
}

TEST(LogFiles, EqualTimesInDifferentPlacesAreDifferentRuns) {
  const auto runs = group_run_files("/o", {"/o/a/logs/20241107T162721/x/attempt_0/0/stdout.log",
                                           "/o/b/logs/20241107T162721/x/attempt_0/0/stdout.log"});
  EXPECT_THAT(names(runs), ElementsAre("a/logs", "b/logs"));
}

TEST(LogFiles, ATorchrunDirectoryWithoutATimeIsOneRun) {
  const auto runs = group_run_files(
      "/tmp", {"/tmp/none_k3/attempt_1/0/stdout.log", "/tmp/none_k3/attempt_0/0/stdout.log",
               "/tmp/none_k3/attempt_0/1/stderr.log"});
  ASSERT_THAT(names(runs), ElementsAre("none_k3"));
  EXPECT_THAT(runs[0].logs, ElementsAre("/tmp/none_k3/attempt_0/0/stdout.log",
                                        "/tmp/none_k3/attempt_0/1/stderr.log",
                                        "/tmp/none_k3/attempt_1/0/stdout.log"));
}

TEST(LogFiles, PlainLogsAreRunsOfTheirOwn) {
  EXPECT_THAT(names(group_run_files(
                  "/o", {"/o/tp1.log", "/o/tp2.txt", "/o/model.safetensors", "/o/x/notes.md"})),
              ElementsAre("tp1.log", "tp2.txt"));
}

TEST(LogFiles, ASingleFileIsTheRunWhateverItsName) {
  TempDir dir;
  const auto file = dir.write("console.capture", "x");
  const auto runs = find_runs(file);
  ASSERT_TRUE(runs);
  EXPECT_THAT(*runs, ElementsAre(Field(&RunFiles::logs, ElementsAre(file))));
}

TEST(LogFiles, ALaunchersJournalIsNoRun) {
  TempDir dir;
  const auto runs = find_runs(dir.write("journal.json", "{}"));
  ASSERT_TRUE(runs);
  EXPECT_TRUE(runs->empty());
}

TEST(LogFiles, AreFoundInADirectory) {
  TempDir dir;
  dir.write("deep/a/attempt_0/0/stdout.log", "");
  dir.write("deep/a/attempt_0/1/stdout.log", "");
  const auto runs = find_runs(dir.path());
  ASSERT_TRUE(runs);
  EXPECT_THAT(names(*runs), ElementsAre("deep/a"));
}

TEST(LogFiles, AMissingPathIsAnErrorThatNamesIt) {
  const auto runs = find_runs("/nonexistent/logs");
  ASSERT_FALSE(runs);
  EXPECT_EQ(runs.error().message, "read /nonexistent/logs: no such file or directory");
  EXPECT_EQ(runs.error().kind, Error::Kind::kUsage);
}

TEST(LogFiles, TheGenerationIsInThePath) {
  EXPECT_EQ(generation_of_path("/l/attempt_12/0/stdout.log"), 12);
  EXPECT_EQ(generation_of_path("/l/generation_3/rank_0.log"), 3);
  EXPECT_EQ(generation_of_path("/l/attempt_x/rank_0.log"), 0);
}

}  // namespace
}  // namespace megalaunch
