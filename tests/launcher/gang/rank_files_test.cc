#include "launcher/gang/rank_files.h"

#include <gtest/gtest.h>

#include "tests/lib/temp_dir.h"

namespace megalaunch {
namespace {

TEST(RankFiles, LieUnderAttemptNodeAndLocalRank) {
  const RankFiles files = rank_files("/logs/run", 2, 3, 4);
  EXPECT_EQ(files.stdout_log(), "/logs/run/attempt_2/3/4/stdout.log");
  EXPECT_EQ(files.stderr_log(), "/logs/run/attempt_2/3/4/stderr.log");
  EXPECT_EQ(files.error_file(), "/logs/run/attempt_2/3/4/error.json");
}

TEST(ReadTail, GivesTheLastBytesOrAllThereIs) {
  const TempDir dir;
  const auto path = dir.write("log", "0123456789");
  EXPECT_EQ(read_tail(path, 3), "789");
  EXPECT_EQ(read_tail(path, 10), "0123456789");
  EXPECT_EQ(read_tail(path, 1000), "0123456789");
  EXPECT_EQ(read_tail(path, 0), "");
}

TEST(ReadTail, WhatCannotBeReadIsEmpty) {
  const TempDir dir;
  EXPECT_EQ(read_tail(dir.path() / "missing", 10), "");
  EXPECT_EQ(read_tail(dir.path(), 10), "");
  EXPECT_EQ(read_tail(dir.write("empty", ""), 10), "");
}

class AddFiles : public testing::Test {
 protected:
  Evidence evidence(size_t limit = Evidence::kMaxTail) const {
    Evidence made;
    add_files(made, RankFiles{dir_.path()}, limit);
    return made;
  }
  TempDir dir_;
};

TEST_F(AddFiles, TakesTheTailsOfBothLogsAndTheErrorFile) {
  dir_.write("stdout.log", "iteration 5\n");
  dir_.write("stderr.log", "Traceback\n");
  dir_.write("error.json",
             R"({"message": {"message": "ValueError: no", "extraInfo": {"py_callstack": "Traceback",
                 "timestamp": "1730996841"}}})");
  const Evidence made = evidence();
  EXPECT_EQ(made.stdout_tail, "iteration 5\n");
  EXPECT_EQ(made.stderr_tail, "Traceback\n");
  ASSERT_TRUE(made.error_file);
  EXPECT_EQ(made.error_file->message, "ValueError: no");
}

TEST_F(AddFiles, KeepsToTheLimit) {
  dir_.write("stderr.log", std::string(5000, 'x'));
  EXPECT_LE(evidence(1000).stderr_tail.size(), 1000u);
}

TEST_F(AddFiles, AnErrorFileThatIsNotFinishedIsNoEvidence) {
  dir_.write("error.json", R"({"message": {"mess)");
  EXPECT_FALSE(evidence().error_file);
}

TEST_F(AddFiles, WithoutFilesThereIsNothing) {
  const Evidence made = evidence();
  EXPECT_EQ(made.stdout_tail + made.stderr_tail, "");
  EXPECT_FALSE(made.error_file);
}

}  // namespace
}  // namespace megalaunch
