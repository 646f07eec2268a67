#include "launcher/gang/preparer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>

#include "launcher/ranks/reaper.h"
#include "tests/lib/processes.h"
#include "tests/lib/temp_dir.h"

namespace megalaunch {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

class PreparerTest : public testing::Test {
 protected:
  Preparer::Work work(std::vector<std::string> scripts, seconds timeout = 60s) const {
    Preparer::Work made;
    for (const std::string& script : scripts)
      made.steps.push_back({{"sh", "-c", script}, PrepareStep::On::kFirst, timeout});
    made.folder = dir_.path() / "prepared";
    made.cwd = dir_.path();
    made.environment.set("PATH", "/usr/bin:/bin");
    return made;
  }
  Status run(Preparer::Work what) {
    std::optional<Status> result;
    preparer_->run(std::move(what), [&](Status status) { result = std::move(status); });
    EXPECT_TRUE(run_until(context_, [&] { return result.has_value(); }));
    return result.value_or(fail(Error::Kind::kTimeout, "it never said anything"));
  }
  void expect_the_end_of_leavers() const {
    for (const char* name : {"child", "orphan"}) {
      const pid_t pid = pid_in(dir_.path() / name);
      ASSERT_GT(pid, 0) << name;
      EXPECT_TRUE(wait_until([&] { return !is_alive(pid); })) << name;
    }
  }
  std::string text(const std::string& name) const { return read_file(dir_.path() / name); }

  /// A step whose two processes leave its process group.
  const std::string leavers_ =
      "setsid sh -c 'echo $$ > child; exec sleep 600' & "
      "(setsid sh -c 'sh -c \"echo \\$\\$ > orphan; exec sleep 600\" &' ); wait";
  TempDir dir_;
  boost::asio::io_context context_;
  Reaper reaper_{context_};
  /// This process's own: whoever has it may be killed, and other tests may run beside these.
  const std::string marker_ = "preparer-test-" + std::to_string(::getpid());
  std::optional<Preparer> preparer_{std::in_place, context_, reaper_, Log::to_nowhere(),
                                    "MEGALAUNCH_AGENT=" + marker_};
};

TEST_F(PreparerTest, WithNothingToDoItIsDone) {
  EXPECT_TRUE(run(work({})));
}

TEST_F(PreparerTest, MakesFoldersAndCopiesThenRunsTheStepsInOrder) {
  dir_.write("from/file", "content");
  auto all = work({"cat made/copy/file > order", "echo two >> order"});
  all.directories = {(dir_.path() / "made/copy").string()};
  all.copies.push_back(
      {(dir_.path() / "from").string(), "file", (dir_.path() / "made/copy").string(), true});
  const Status status = run(all);
  ASSERT_TRUE(status) << status.error().message;
  EXPECT_EQ(text("order"), "contenttwo\n");
}

TEST_F(PreparerTest, StepsHaveTheMarkerInTheirEnvironment) {
  ASSERT_TRUE(run(work({"echo $MEGALAUNCH_AGENT > marker"})));
  EXPECT_EQ(text("marker"), marker_ + "\n");
}

TEST_F(PreparerTest, AStepThatIsDoneIsNotRepeatedButOneThatFailedIs) {
  const auto all = work({"echo a >> order", "echo b >> order; test -e go"});
  EXPECT_FALSE(run(all));
  dir_.write("go", "");
  EXPECT_TRUE(run(all));
  EXPECT_TRUE(run(all));
  EXPECT_EQ(text("order"), "a\nb\nb\n");
}

TEST_F(PreparerTest, AStepOfEachNodeRunsAgainOnAnotherMachineThatTookItsPlace) {
  auto all = work({"echo done >> order"});
  const auto run_on = [&](const char* host, const char* boot) {
    all.folder = node_steps_folder(dir_.path(), 1, host, boot);
    EXPECT_TRUE(run(all));
    return text("order");
  };
  EXPECT_EQ(run_on("worker-1", "b1"), "done\n");
  EXPECT_EQ(run_on("worker-1", "b1"), "done\n") << "the same machine";
  EXPECT_EQ(run_on("worker-1", "b2"), "done\ndone\n") << "another one of that name";
  EXPECT_EQ(run_on("worker-7", "b1"), "done\ndone\ndone\n") << "another container";
}

TEST_F(PreparerTest, AFailingStepIsNamedWithTheEndOfItsLog) {
  const Status status = run(work({"echo no such bucket >&2; exit 3", "touch never"}));
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message, HasSubstr("exited with code 3"));
  EXPECT_THAT(status.error().message, HasSubstr("no such bucket"));
  EXPECT_FALSE(std::filesystem::exists(dir_.path() / "never"));
}

TEST_F(PreparerTest, AStepThatTakesTooLongIsKilledWithItsProcessGroup) {
  const Status status = run(work({"sleep 600 & echo $! > child; wait"}, 1s));
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message, HasSubstr("was not done after 1 s and was killed"));
  EXPECT_TRUE(wait_until([&] { return !is_alive(pid_in(dir_.path() / "child")); }));
}

TEST_F(PreparerTest, AStepThatTakesTooLongIsKilledWithWhatLeftItsProcessGroup) {
  const Status status = run(work({leavers_}, 2s));
  ASSERT_FALSE(status);
  expect_the_end_of_leavers();
}

TEST_F(PreparerTest, AMissingProgramIsNamed) {
  auto all = work({});
  all.steps.push_back({{"no-such-program"}, PrepareStep::On::kFirst, 60s});
  const Status status = run(all);
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message, HasSubstr("no-such-program"));
}

TEST_F(PreparerTest, AMarkerThatCannotBeLookedForIsNamedAndNoStepRuns) {
  const auto all = work({"touch ran"});
  const auto marker = all.folder / prepare_marker_name(all.steps[0]);
  std::filesystem::create_directories(all.folder);
  std::filesystem::create_symlink(marker.filename(), marker);
  const Status status = run(all);
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message, HasSubstr(marker.string()));
  EXPECT_THAT(status.error().message, HasSubstr("Too many levels of symbolic links"));
  EXPECT_FALSE(std::filesystem::exists(dir_.path() / "ran"));
}

TEST_F(PreparerTest, AFolderThatCannotBeMadeIsNamedAndNoStepRuns) {
  dir_.write("file", "");
  auto all = work({"touch never"});
  all.directories = {(dir_.path() / "file/below").string()};
  const Status status = run(all);
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message, HasSubstr("file/below"));
  EXPECT_FALSE(std::filesystem::exists(dir_.path() / "never"));
}

TEST_F(PreparerTest, DestroyingItKillsTheStepThatRunsAndCallsNothing) {
  bool called = false;
  preparer_->run(work({"echo $$ > pid; sleep 600"}), [&](Status) { called = true; });
  ASSERT_TRUE(run_until(context_, [&] { return pid_in(dir_.path() / "pid") > 0; }));
  preparer_.reset();
  EXPECT_TRUE(run_until(context_, [&] { return !is_alive(pid_in(dir_.path() / "pid")); }));
  EXPECT_FALSE(called);
}

TEST_F(PreparerTest, StoppingAndDestroyingItKillAlsoWhatLeftTheStepsProcessGroup) {
  for (const bool destroyed : {false, true}) {
    SCOPED_TRACE(destroyed);
    for (const char* name : {"child", "orphan"}) std::filesystem::remove(dir_.path() / name);
    preparer_.emplace(context_, reaper_, Log::to_nowhere(), "MEGALAUNCH_AGENT=" + marker_);
    bool called = false;
    preparer_->run(work({leavers_}), [&](Status) { called = true; });
    ASSERT_TRUE(run_until(context_, [&] {
      return pid_in(dir_.path() / "child") > 0 && pid_in(dir_.path() / "orphan") > 0;
    }));
    destroyed ? preparer_.reset() : preparer_->stop();
    expect_the_end_of_leavers();
    context_.poll();
    EXPECT_FALSE(called);
  }
}

}  // namespace
}  // namespace megalaunch
