#include "launcher/ranks/rank_group.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <optional>

#include "launcher/ranks/reaper.h"
#include "tests/lib/processes.h"
#include "tests/lib/temp_dir.h"

namespace megalaunch {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

/// Groups of shell scripts whose files are in one folder.
class RankGroupTest : public testing::Test {
 protected:
  RankGroupTest() { ::prctl(PR_SET_CHILD_SUBREAPER, 1); }  // as run_node() does
  ~RankGroupTest() override {
    group_.reset();
    ::prctl(PR_SET_CHILD_SUBREAPER, 0);
  }

  RankSpec shell(int local_rank, const std::string& script) {
    RankSpec spec;
    spec.local_rank = local_rank;
    spec.rank = 100 + local_rank;
    spec.process.program = "/bin/sh";
    spec.process.argv = {"sh", "-c", script};
    spec.process.environment = {"PATH=/usr/bin:/bin", marker_};
    spec.process.cwd = dir_.path();
    spec.stdout_path = file(std::to_string(local_rank) + ".out");
    spec.stderr_path = file(std::to_string(local_rank) + ".err");
    return spec;
  }
  std::filesystem::path file(const std::string& name) const { return dir_.path() / name; }

  Status start(const std::vector<RankSpec>& ranks) {
    RankGroup::Events events;
    events.on_exit = [this](const RankExit& exit) { exits_.push_back(exit); };
    events.on_pause = [this](const RankPause& pause) { pauses_.push_back(pause); };
    group_ = std::make_unique<RankGroup>(context_, reaper_, clock_, Log::to_nowhere(), marker_,
                                         std::move(events), pause_limit_);
    return group_->start(ranks);
  }
  void start_scripts(const std::vector<std::string>& scripts) {
    std::vector<RankSpec> ranks;
    for (size_t i = 0; i < scripts.size(); ++i)
      ranks.push_back(shell(static_cast<int>(i), scripts[i]));
    const Status started = start(ranks);
    ASSERT_TRUE(started) << started.error().message;
  }
  /// Waits until a script has written its pid (or another number) into a file.
  pid_t number_in(const std::string& name) {
    EXPECT_TRUE(wait_until([&] { return pid_in(file(name)) > 0; })) << name;
    return pid_in(file(name));
  }
  /// Stops; false when it is not done in time.
  bool stop(milliseconds grace) {
    bool done = false;
    group_->stop(grace, [&] { done = true; });
    return run_until(context_, [&] { return done; });
  }
  /// To the first rank alone: a shell whose child is stopped in vfork() cannot be stopped itself.
  void signal_first(int signal) const { ::kill(group_->pids()[0], signal); }
  bool wait_for_exits(size_t count) {
    return run_until(context_, [&] { return exits_.size() >= count; });
  }

  TempDir dir_;
  boost::asio::io_context context_;
  Reaper reaper_{context_};
  SystemClock clock_;
  const std::string marker_ = "MEGALAUNCH_AGENT=test-" + dir_.path().filename().string();
  milliseconds pause_limit_{0};
  std::vector<RankExit> exits_;
  std::vector<RankPause> pauses_;
  std::unique_ptr<RankGroup> group_;
};

TEST_F(RankGroupTest, TellsHowEachRankEnded) {
  start_scripts({"exit 0", "exit 7", "kill -KILL $$"});
  const auto pids = group_->pids();
  ASSERT_TRUE(wait_for_exits(3));
  std::sort(exits_.begin(), exits_.end(),
            [](const auto& a, const auto& b) { return a.rank < b.rank; });
  EXPECT_EQ(exits_[0].status, WaitStatus(Exited{0}));
  EXPECT_EQ(exits_[1].status, WaitStatus(Exited{7}));
  EXPECT_EQ(exits_[2].status, WaitStatus(Signaled{9, false}));
  for (int i = 0; i < 3; ++i) {
    const RankExit& exit = exits_[static_cast<size_t>(i)];
    EXPECT_EQ(exit.rank, 100 + i);
    EXPECT_EQ(exit.local_rank, i);
    EXPECT_EQ(exit.pid, pids[static_cast<size_t>(i)]);
    EXPECT_FALSE(exit.stopped_by_us);
    EXPECT_LT(clock_.wall() - exit.time, 20s);
  }
  EXPECT_EQ(group_->living(), 0);
  EXPECT_THAT(group_->pids(), testing::ElementsAre(0, 0, 0));
}

TEST_F(RankGroupTest, EachRankWritesIntoItsOwnFiles) {
  start_scripts({"echo a; echo b >&2", "echo c"});
  ASSERT_TRUE(wait_for_exits(2));
  EXPECT_EQ(read_file(file("0.out")), "a\n");
  EXPECT_EQ(read_file(file("0.err")), "b\n");
  EXPECT_EQ(read_file(file("1.out")), "c\n");
}

TEST_F(RankGroupTest, BothStreamsMayGoIntoOneFile) {
  RankSpec spec = shell(0, "echo a; echo b >&2; echo c");
  spec.stderr_path = spec.stdout_path;
  ASSERT_TRUE(start({spec}));
  ASSERT_TRUE(wait_for_exits(1));
  EXPECT_EQ(read_file(spec.stdout_path), "a\nb\nc\n");
}

TEST_F(RankGroupTest, StartsAllRanksOrNone) {
  RankSpec bad = shell(1, "true");
  bad.process.program = "/no/such/program";
  const Status started =
      start({shell(0, "sleep 600 & echo $! > child; echo $$ > rank; wait"), bad});
  ASSERT_FALSE(started);
  EXPECT_THAT(started.error().message, HasSubstr("rank 101: start /no/such/program"));
  EXPECT_TRUE(stop(0ms));
  EXPECT_EQ(group_->living(), 0);
  for (const RankExit& exit : exits_) EXPECT_TRUE(exit.stopped_by_us);
  for (const char* name : {"rank", "child"}) {
    const pid_t pid = pid_in(file(name));
    EXPECT_FALSE(pid > 0 && is_alive(pid)) << name;
  }
}

TEST_F(RankGroupTest, StartsNothingWhenALogFileCannotBeMade) {
  RankSpec bad = shell(1, "true");
  bad.stderr_path = "/no/such/folder/err";
  const Status started = start({shell(0, "touch ran"), bad});
  ASSERT_FALSE(started);
  EXPECT_THAT(started.error().message, HasSubstr("/no/such/folder/err"));
  EXPECT_EQ(group_->living(), 0);
  EXPECT_FALSE(std::filesystem::exists(file("ran")));
}

TEST_F(RankGroupTest, ARankThatObeysSIGTERMIsGivenTheTimeItNeeds) {
  start_scripts({"trap 'echo saved; exit 3' TERM; echo 1 > ready; while :; do sleep 0.01; done"});
  number_in("ready");
  ASSERT_TRUE(stop(20s));
  ASSERT_EQ(exits_.size(), 1u);
  EXPECT_EQ(exits_[0].status, WaitStatus(Exited{3}));
  EXPECT_TRUE(exits_[0].stopped_by_us);
  EXPECT_EQ(read_file(file("0.out")), "saved\n");
}

TEST_F(RankGroupTest, ARankThatIgnoresSIGTERMIsKilledAfterTheGrace) {
  start_scripts({"trap '' TERM; echo 1 > ready; while :; do sleep 0.01; done"});
  number_in("ready");
  const auto before = std::chrono::steady_clock::now();
  ASSERT_TRUE(stop(300ms));
  EXPECT_GE(std::chrono::steady_clock::now() - before, 300ms);
  EXPECT_EQ(exits_[0].status, WaitStatus(Signaled{SIGKILL, false}));
}

TEST_F(RankGroupTest, ARankThatIsSuspendedCanStillEndGracefully) {
  start_scripts({"trap 'exit 3' TERM; echo 1 > ready; while :; do sleep 0.01; done"});
  number_in("ready");
  group_->forward(SIGSTOP);
  ASSERT_TRUE(stop(20s));
  EXPECT_EQ(exits_[0].status, WaitStatus(Exited{3}));
}

constexpr const char* kPatient = "trap 'exit 3' TERM; echo 1 > ready; while :; do sleep 0.01; done";

TEST_F(RankGroupTest, TellsThatARankWasStoppedAndThatItGoesOn) {
  start_scripts({kPatient});
  number_in("ready");
  signal_first(SIGSTOP);
  ASSERT_TRUE(run_until(context_, [&] { return pauses_.size() == 1; }));
  EXPECT_EQ(pauses_[0].signal, SIGSTOP);
  EXPECT_EQ(pauses_[0].rank, 100);
  EXPECT_EQ(pauses_[0].local_rank, 0);
  EXPECT_EQ(pauses_[0].pid, group_->pids()[0]);
  signal_first(SIGCONT);
  ASSERT_TRUE(run_until(context_, [&] { return pauses_.size() == 2; }));
  EXPECT_EQ(pauses_[1].signal, 0);
  EXPECT_GT(pauses_[1].lasted.count(), 0);
  EXPECT_TRUE(exits_.empty());
  EXPECT_TRUE(stop(20s));
  EXPECT_EQ(exits_[0].status, WaitStatus(Exited{3}));
}

TEST_F(RankGroupTest, ARankThatStaysStoppedBeyondTheLimitCountsAsEnded) {
  pause_limit_ = 50ms;
  start_scripts({kPatient, "exec sleep 600"});
  const pid_t ready = number_in("ready");
  ASSERT_EQ(ready, 1);
  signal_first(SIGTSTP);
  ASSERT_TRUE(wait_for_exits(1));
  EXPECT_EQ(exits_[0].status, WaitStatus(Signaled{SIGTSTP, false}));
  EXPECT_EQ(exits_[0].local_rank, 0);
  EXPECT_FALSE(exits_[0].stopped_by_us);
  EXPECT_EQ(group_->living(), 2);
  ASSERT_TRUE(stop(20s));
  // Its real end is not told once more.
  ASSERT_EQ(exits_.size(), 2u);
  EXPECT_EQ(exits_[1].local_rank, 1);
  EXPECT_TRUE(exits_[1].stopped_by_us);
  EXPECT_EQ(group_->living(), 0);
}

TEST_F(RankGroupTest, ARankThatGoesOnBeforeTheLimitHasNotEnded) {
  pause_limit_ = 600s;
  start_scripts({kPatient});
  number_in("ready");
  signal_first(SIGSTOP);
  ASSERT_TRUE(run_until(context_, [&] { return pauses_.size() == 1; }));
  signal_first(SIGCONT);
  ASSERT_TRUE(run_until(context_, [&] { return pauses_.size() == 2; }));
  ASSERT_TRUE(stop(20s));
  ASSERT_EQ(exits_.size(), 1u);
  EXPECT_EQ(exits_[0].status, WaitStatus(Exited{3}));
  EXPECT_TRUE(exits_[0].stopped_by_us);
}

TEST_F(RankGroupTest, ARankThatIsStoppedWhenTheGroupIsHadFailedByThen) {
  pause_limit_ = 600s;
  start_scripts({kPatient});
  number_in("ready");
  signal_first(SIGSTOP);
  ASSERT_TRUE(run_until(context_, [&] { return pauses_.size() == 1; }));
  ASSERT_TRUE(stop(20s));
  ASSERT_EQ(exits_.size(), 1u);
  EXPECT_EQ(exits_[0].status, WaitStatus(Signaled{SIGSTOP, false}));
  EXPECT_FALSE(exits_[0].stopped_by_us);
}

TEST_F(RankGroupTest, ARankThatWasDeadBeforeTheGroupIsStoppedHasFailedByItself) {
  start_scripts({"kill -9 $$", "exit 0", kPatient});
  number_in("ready");
  for (const size_t ended : {0, 1})
    EXPECT_TRUE(wait_until([&] { return !is_alive(group_->pids()[ended]); }));
  ASSERT_TRUE(stop(20s));  // nobody has collected them: the context has not run
  ASSERT_EQ(exits_.size(), 3u);
  std::sort(exits_.begin(), exits_.end(),
            [](const RankExit& a, const RankExit& b) { return a.local_rank < b.local_rank; });
  EXPECT_EQ(exits_[0].status, WaitStatus(Signaled{SIGKILL, false}));
  EXPECT_FALSE(exits_[0].stopped_by_us);
  EXPECT_EQ(exits_[1].status, WaitStatus(Exited{0}));
  EXPECT_FALSE(exits_[1].stopped_by_us);
  EXPECT_TRUE(exits_[2].stopped_by_us);
}

TEST_F(RankGroupTest, StoppingTwiceShortensTheGraceAndTheLastDoneCounts) {
  start_scripts({"trap '' TERM; echo 1 > ready; while :; do sleep 0.01; done"});
  number_in("ready");
  bool first_done = false;
  group_->stop(600s, [&] { first_done = true; });
  context_.poll();
  EXPECT_TRUE(stop(0ms));
  EXPECT_FALSE(first_done);
}

TEST_F(RankGroupTest, ASecondStopDoesNotLengthenTheGrace) {
  start_scripts({"trap '' TERM; echo 1 > ready; while :; do sleep 0.01; done"});
  number_in("ready");
  group_->stop(100ms, [] {});
  EXPECT_TRUE(stop(600s));
}

TEST_F(RankGroupTest, StoppingWhatHasEndedStillCallsDoneAlsoTwice) {
  start_scripts({"exit 0"});
  ASSERT_TRUE(wait_for_exits(1));
  EXPECT_TRUE(stop(10s));
  EXPECT_TRUE(stop(10s));
}

TEST_F(RankGroupTest, DoneIsNeverCalledFromWithinStop) {
  start_scripts({"exit 0"});
  ASSERT_TRUE(wait_for_exits(1));
  bool done = false;
  group_->stop(0ms, [&] { done = true; });
  EXPECT_FALSE(done);
  EXPECT_TRUE(run_until(context_, [&] { return done; }));
}

TEST_F(RankGroupTest, AGrandchildInASessionOfItsOwnIsStoppedToo) {
  start_scripts({"setsid sh -c 'echo $$ > child; exec sleep 600' & wait"});
  const pid_t child = number_in("child");
  ASSERT_TRUE(is_alive(child));
  ASSERT_TRUE(stop(20s));
  EXPECT_FALSE(is_alive(child));
}

TEST_F(RankGroupTest, AnOrphanThatLeftEverythingIsStoppedThoughItsRankEndedLongAgo) {
  start_scripts(
      {"setsid sh -c 'sh -c \"echo \\$\\$ > orphan; exec sleep 600\" & ' & wait; exit 0"});
  const pid_t orphan = number_in("orphan");
  ASSERT_TRUE(wait_for_exits(1));
  ASSERT_TRUE(is_alive(orphan));
  ASSERT_TRUE(stop(20s));
  EXPECT_FALSE(is_alive(orphan));
}

TEST_F(RankGroupTest, AGrandchildThatDroppedTheMarkerDiesWithItsParent) {
  start_scripts({"env -i /bin/sh -c 'echo $$ > child; exec /bin/sleep 600' & wait"});
  const pid_t child = number_in("child");
  ASSERT_TRUE(stop(20s));
  EXPECT_FALSE(is_alive(child));
}

TEST_F(RankGroupTest, AGrandchildWithoutTheMarkerThatIgnoresSIGTERMIsKilledAfterTheGrace) {
  start_scripts(
      {"env -i /bin/sh -c 'trap \"\" TERM; echo $$ > child; while :; do /bin/sleep 0.01; done' & "
       "wait"});
  const pid_t child = number_in("child");
  ASSERT_TRUE(stop(100ms));
  EXPECT_FALSE(is_alive(child));
}

TEST_F(RankGroupTest, ALeftBehindGrandchildThatIgnoresSIGTERMIsKilledAfterTheGrace) {
  start_scripts(
      {"setsid sh -c 'trap \"\" TERM; echo $$ > child; while :; do sleep 0.01; done' & "
       "while ! test -e child; do sleep 0.01; done; exit 0"});
  const pid_t child = number_in("child");
  ASSERT_TRUE(wait_for_exits(1));
  ASSERT_TRUE(stop(100ms));
  EXPECT_FALSE(is_alive(child));
}

TEST_F(RankGroupTest, ForwardSendsASignalToEveryLivingRank) {
  start_scripts({"trap 'exit 5' USR1; echo 1 > a; while :; do sleep 0.01; done",
                 "trap 'exit 6' USR1; echo 1 > b; while :; do sleep 0.01; done"});
  number_in("a");
  number_in("b");
  group_->forward(SIGUSR1);
  ASSERT_TRUE(wait_for_exits(2));
  for (const RankExit& exit : exits_)
    EXPECT_EQ(exit.status, WaitStatus(Exited{5 + exit.local_rank}));
}

TEST_F(RankGroupTest, DestroyingItKillsEverythingAndCallsNothing) {
  start_scripts({"trap '' TERM; sleep 600 & echo $! > child; echo $$ > rank; wait"});
  const pid_t rank = number_in("rank"), child = number_in("child");
  group_.reset();
  EXPECT_TRUE(run_until(context_, [&] { return !is_alive(rank) && !is_alive(child); }));
  EXPECT_TRUE(exits_.empty());
}

TEST_F(RankGroupTest, SixtyFourRanksAreStoppedInOneGo) {
  start_scripts(std::vector<std::string>(64, "exec sleep 600"));
  EXPECT_EQ(group_->living(), 64);
  ASSERT_TRUE(stop(20s));
  EXPECT_EQ(exits_.size(), 64u);
  EXPECT_EQ(group_->living(), 0);
}

}  // namespace
}  // namespace megalaunch
