#include "launcher/ranks/prepare_run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>

#include "launcher/ranks/reaper.h"
#include "tests/lib/temp_dir.h"

namespace megalaunch {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using On = PrepareStep::On;

/// Runs steps to their end, with everything below one folder.
class Preparation {
 public:
  Status run(std::vector<PrepareStep> steps, bool first = true, bool stop_at_once = false) {
    boost::asio::io_context context;
    Reaper reaper(context);
    std::optional<Status> result;
    PrepareRun run(context, reaper, Log::to_nowhere(),
                   {std::move(steps), first, dir.path(), Variables::of_this_process(),
                    dir.path() / "logs", dir.path() / "shared", dir.path() / "local", 200ms},
                   [&](Status status) { result = std::move(status); });
    run.start();
    if (stop_at_once) {
      while (!std::filesystem::exists(dir.path() / "started")) context.run_one_for(10ms);
      run.stop();
    }
    while (!result) context.run_one();
    return *result;
  }

  TempDir dir;
};

PrepareStep shell(const std::string& line, On on = On::kFirst, std::chrono::seconds timeout = 60s) {
  return {{"sh", "-c", line}, on, timeout};
}

TEST(PrepareRun, RunsStepsInOrderEachWithItsLog) {
  Preparation p;
  EXPECT_TRUE(
      p.run({shell("echo one; echo one >> order"), shell("echo two >&2; echo two >> order")}));
  EXPECT_EQ(read_file(p.dir.path() / "order"), "one\ntwo\n");
  EXPECT_EQ(read_file(p.dir.path() / "logs/prepare-1.log"), "one\n");
  EXPECT_EQ(read_file(p.dir.path() / "logs/prepare-2.log"), "two\n");
}

TEST(PrepareRun, DoesNotRepeatAStepThatIsDone) {
  Preparation p;
  const std::vector<PrepareStep> steps{shell("echo a >> order"),
                                       shell("echo b >> order; test -e go")};
  EXPECT_FALSE(p.run(steps));
  p.dir.write("go", "");
  EXPECT_TRUE(p.run(steps));
  EXPECT_TRUE(p.run(steps));
  EXPECT_EQ(read_file(p.dir.path() / "order"), "a\nb\nb\n");
}

TEST(PrepareRun, OtherNodesRunOnlyTheStepsOfEachNode) {
  Preparation p;
  EXPECT_TRUE(p.run(
      {shell("echo first >> order", On::kFirst), shell("echo each >> order", On::kEach)}, false));
  EXPECT_EQ(read_file(p.dir.path() / "order"), "each\n");
}

TEST(PrepareRun, AFailingStepIsNamedWithItsLastLines) {
  Preparation p;
  const Status status = p.run({shell("echo no such bucket; exit 3"), shell("touch never")});
  ASSERT_FALSE(status);
  EXPECT_THAT(
      status.error().message,
      HasSubstr("prepare step 1 of 2 (sh -c echo no such bucket; exit 3) exited with code 3"));
  EXPECT_THAT(status.error().message, HasSubstr("\nno such bucket"));
  EXPECT_FALSE(std::filesystem::exists(p.dir.path() / "never"));
}

TEST(PrepareRun, AMissingProgramIsAnErrorBeforeAnythingRuns) {
  Preparation p;
  const Status status = p.run({{{"no-such-program"}, On::kFirst, 1s}});
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message, HasSubstr("no-such-program"));
}

TEST(PrepareRun, AStepPastItsTimeoutIsKilledWithItsChildren) {
  Preparation p;
  const Status status =
      p.run({shell("trap '' TERM; sleep 600 & echo $! > child; wait; wait", On::kFirst, 1s)});
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().kind, Error::Kind::kTimeout);
  EXPECT_THAT(status.error().message, HasSubstr("ran past its timeout of 1 s"));
}

TEST(PrepareRun, CanBeStopped) {
  Preparation p;
  const Status status = p.run({shell("touch started; sleep 600")}, true, true);
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message, HasSubstr("was stopped"));
}

}  // namespace
}  // namespace megalaunch
