#include "launcher/gang/journal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "tests/lib/full_disk.h"
#include "tests/lib/temp_dir.h"

namespace megalaunch {
namespace {

using testing::HasSubstr;

const WallTime kNow{std::chrono::seconds(1'730'996'841)};

JournalState some_state() {
  JournalState state;
  state.job = "job";
  state.run_id = "job-1";
  state.start_time = "2024-11-07T16:27:21Z";
  state.host = "host0";
  state.pid = 17;
  state.nodes = 4;
  state.generation = 2;
  state.history.restarts = 2;
  state.history.last_signature = "signal//was killed";
  return state;
}

TEST(Journal, WhereThereIsNoneThereIsNothingToContinue) {
  const TempDir dir;
  const auto loaded = Journal::load(dir.path());
  ASSERT_TRUE(loaded);
  EXPECT_FALSE(*loaded);
}

TEST(Journal, WhatIsRecordedIsLoadedAgain) {
  const TempDir dir;
  auto journal = Journal::open(dir.path(), some_state());
  ASSERT_TRUE(journal) << journal.error().message;
  ASSERT_TRUE(journal->record(kNow, "running", "all ranks run"));
  const auto loaded = Journal::load(dir.path());
  ASSERT_TRUE(loaded && *loaded);
  const JournalState& state = **loaded;
  EXPECT_EQ(state.job, "job");
  EXPECT_EQ(state.run_id, "job-1");
  EXPECT_EQ(state.nodes, 4);
  EXPECT_EQ(state.generation, 2);
  EXPECT_EQ(state.phase, "running");
  EXPECT_EQ(state.detail, "all ranks run");
  EXPECT_EQ(state.since, "2024-11-07T16:27:21Z");
  EXPECT_EQ(state.exit_code, std::nullopt);
  EXPECT_EQ(state.history.last_signature, "signal//was killed");
}

TEST(Journal, TheExitCodeSaysThatARunHasEnded) {
  const TempDir dir;
  auto journal = Journal::open(dir.path(), some_state());
  ASSERT_TRUE(journal);
  journal->state().exit_code = 0;
  ASSERT_TRUE(journal->record(kNow, "ended", ""));
  EXPECT_EQ((**Journal::load(dir.path())).exit_code, 0);
}

TEST(Journal, EveryEventIsALine) {
  const TempDir dir;
  auto journal = Journal::open(dir.path(), some_state());
  ASSERT_TRUE(journal);
  ASSERT_TRUE(journal->record(kNow, "joined", "node 0 \"a\"\nb"));
  ASSERT_TRUE(journal->record(kNow, "lost", "bytes \xff\xfe"));
  std::istringstream lines(read_file(journal->run_dir() / "events.jsonl"));
  std::vector<nlohmann::json> events;
  for (std::string line; std::getline(lines, line);) events.push_back(nlohmann::json::parse(line));
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0]["event"], "joined");
  EXPECT_EQ(events[0]["detail"], "node 0 \"a\"\nb");
  EXPECT_EQ(events[0]["generation"], 2);
  EXPECT_EQ(events[0]["time"], "2024-11-07T16:27:21Z");
}

TEST(Journal, AFileThatMakesNoSenseIsAnErrorThatSaysWhatToDo) {
  const nlohmann::json good = nlohmann::json::parse(journal_json(some_state()));
  std::vector<std::string> texts{"", "{", "[]", "null", "{}", "\xff"};
  for (const auto& [name, value] : good.items()) {
    nlohmann::json bad = good;
    bad.erase(name);
    texts.push_back(bad.dump());
    bad[name] = nlohmann::json::array({1});
    texts.push_back(bad.dump());
  }
  for (const char* number : {"generation", "nodes", "pid", "exit_code"})
    for (const nlohmann::json& value : {nlohmann::json(1e300), nlohmann::json(-5)}) {
      nlohmann::json bad = good;
      bad[number] = value;
      texts.push_back(bad.dump());
    }
  for (const std::string& text : texts) {
    const TempDir dir;
    dir.write("journal.json", text);
    const auto loaded = Journal::load(dir.path());
    ASSERT_FALSE(loaded) << text;
    EXPECT_THAT(loaded.error().message, HasSubstr((dir.path() / "journal.json").string()));
    EXPECT_THAT(loaded.error().message, HasSubstr("move it away to start a new run"));
  }
}

TEST(Journal, OneThatCannotBeReadIsNotTakenForNone) {
  const TempDir dir;
  std::filesystem::create_symlink("journal.json", dir.path() / "journal.json");
  for (const char* why : {"Too many levels of symbolic links", "Is a directory"}) {
    const auto loaded = Journal::load(dir.path());
    ASSERT_FALSE(loaded) << "a new run beside the one that goes on";
    EXPECT_THAT(loaded.error().message, HasSubstr((dir.path() / "journal.json").string()));
    EXPECT_THAT(loaded.error().message, HasSubstr(why));
    std::filesystem::remove(dir.path() / "journal.json");
    std::filesystem::create_directory(dir.path() / "journal.json");
  }
}

TEST(Journal, WhereACrashLeftTheNewestEmptyThePreviousOneThatHadReachedTheDiskCounts) {
  const TempDir dir;
  auto journal = Journal::open(dir.path(), some_state());
  ASSERT_TRUE(journal);
  ASSERT_TRUE(journal->record(kNow, "running", ""));
  journal->state().generation = 3;
  ASSERT_TRUE(journal->record(kNow + std::chrono::hours(1), "stopping", ""));
  journal->state().generation = 4;
  ASSERT_TRUE(journal->record(kNow + std::chrono::hours(1), "generation", ""));
  EXPECT_EQ((**Journal::load(dir.path())).generation, 4);
  EXPECT_EQ((**Journal::load(dir.path())).note, "");
  std::filesystem::resize_file(dir.path() / "journal.json", 0);
  const auto loaded = Journal::load(dir.path());
  ASSERT_TRUE(loaded && *loaded);
  EXPECT_EQ((*loaded)->generation, 2) << "what was written in the second of the crash is not there";
  EXPECT_EQ((*loaded)->phase, "running");
  EXPECT_THAT((*loaded)->note, HasSubstr("journal.previous.json"));
}

TEST(Journal, TheStateIsKeptAlsoWhereEventsCannotBe) {
  const TempDir dir;
  auto journal = Journal::open(dir.path(), some_state());
  ASSERT_TRUE(journal);
  std::filesystem::create_directory(journal->run_dir() / "events.jsonl");
  EXPECT_FALSE(journal->record(kNow, "running", ""));
  EXPECT_EQ((**Journal::load(dir.path())).phase, "running");
}

TEST(Journal, AFolderThatCannotBeMadeIsNamed) {
  const TempDir dir;
  dir.write("file", "");
  const auto journal = Journal::open(dir.path() / "file", some_state());
  ASSERT_FALSE(journal);
  EXPECT_EQ(journal.error().kind, Error::Kind::kUsage);
  EXPECT_THAT(journal.error().message, HasSubstr((dir.path() / "file/job-1").string()));
  EXPECT_THAT(journal.error().message, HasSubstr("OUTPUT_DIR"));
}

TEST(Journal, WhenItCannotBeWrittenTheOldStateStays) {
  const TempDir dir;
  auto journal = Journal::open(dir.path(), some_state());
  ASSERT_TRUE(journal->record(kNow, "one", ""));
  const std::string before = read_file(dir.path() / "journal.json");
  {
    const FullDisk full;
    EXPECT_FALSE(journal->record(kNow, "two", ""));
  }
  EXPECT_EQ(read_file(dir.path() / "journal.json"), before);
}

}  // namespace
}  // namespace megalaunch
