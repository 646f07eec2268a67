#include "launcher/ranks/reaper.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <map>

#include "tests/lib/processes.h"
#include "tests/lib/temp_dir.h"

namespace megalaunch {
namespace {

pid_t child_that(auto what) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    what();
    ::_exit(0);
  }
  return pid;
}

TEST(Reaper, TellsEachWatcherOnceHowItsChildEnded) {
  boost::asio::io_context context;
  Reaper reaper(context);
  std::map<pid_t, std::vector<WaitStatus>> ends;
  std::map<pid_t, WaitStatus> expected;
  for (int i = 0; i < 50; ++i) {  // one SIGCHLD stands for many of these
    const pid_t pid = child_that([i] { ::_exit(i); });
    expected[pid] = Exited{i};
    reaper.watch(pid, [&ends, pid](WaitStatus status) { ends[pid].push_back(status); });
  }
  ASSERT_TRUE(run_until(context, [&] { return ends.size() == 50; }));
  context.poll();
  for (const auto& [pid, status] : expected) EXPECT_THAT(ends[pid], testing::ElementsAre(status));
}

TEST(Reaper, TellsTheSignal) {
  boost::asio::io_context context;
  Reaper reaper(context);
  const pid_t pid = child_that([] { ::pause(); });
  WaitStatus status;
  bool ended = false;
  reaper.watch(pid, [&](WaitStatus how) {
    status = how;
    ended = true;
  });
  ::kill(pid, SIGKILL);
  ASSERT_TRUE(run_until(context, [&] { return ended; }));
  EXPECT_EQ(status, WaitStatus(Signaled{SIGKILL, false}));
}

TEST(Reaper, ReapsOrphansThatNobodyWatches) {
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  boost::asio::io_context context;
  Reaper reaper(context);
  TempDir dir;
  const auto file = dir.path() / "orphan";
  const pid_t parent = child_that([&] {
    const pid_t orphan = child_that([] {});
    std::ofstream(file) << orphan << '\n';
  });
  bool ended = false;
  reaper.watch(parent, [&](WaitStatus) { ended = true; });
  ASSERT_TRUE(run_until(context, [&] {
    return ended && ::kill(pid_in(file), 0) != 0;  // not even a zombie
  }));
  ::prctl(PR_SET_CHILD_SUBREAPER, 0);
}

TEST(Reaper, AStoppedChildHasNotEnded) {
  boost::asio::io_context context;
  Reaper reaper(context);
  const pid_t pid = child_that([] { ::pause(); });
  bool ended = false;
  reaper.watch(pid, [&](WaitStatus) { ended = true; });
  ::kill(pid, SIGSTOP);
  siginfo_t info{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(pid), &info, WSTOPPED | WNOWAIT), 0);
  context.poll();
  EXPECT_FALSE(ended);
  ::kill(pid, SIGKILL);
  ASSERT_TRUE(run_until(context, [&] { return ended; }));
}

TEST(Reaper, AHandlerMayWatchTheNextChild) {
  boost::asio::io_context context;
  Reaper reaper(context);
  int ended = 0;
  reaper.watch(child_that([] {}), [&](WaitStatus) {
    ++ended;
    reaper.watch(child_that([] {}), [&](WaitStatus) { ++ended; });
  });
  EXPECT_TRUE(run_until(context, [&] { return ended == 2; }));
}

}  // namespace
}  // namespace megalaunch
