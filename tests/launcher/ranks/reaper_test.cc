#include "launcher/ranks/reaper.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <map>
#include <optional>

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

TEST(Reaper, TellsThatAChildWasStoppedAndThatItGoesOn) {
  boost::asio::io_context context;
  Reaper reaper(context);
  const pid_t pid = child_that([] {
    ::setpgid(0, 0);  // as ranks do; in a group that is orphaned SIGTSTP would stop nobody
    for (;;) ::pause();
  });
  ASSERT_TRUE(wait_until([&] { return ::getpgid(pid) == pid; }));
  bool ended = false;
  std::vector<int> pauses;
  reaper.watch(
      pid, [&](WaitStatus) { ended = true; }, [&](int signal) { pauses.push_back(signal); });
  for (const int signal : {SIGSTOP, SIGTSTP}) {
    pauses.clear();
    ::kill(pid, signal);
    ASSERT_TRUE(run_until(context, [&] { return pauses == std::vector{signal}; }));
    ::kill(pid, SIGCONT);
    ASSERT_TRUE(run_until(context, [&] { return pauses == std::vector{signal, 0}; }));
  }
  ::kill(pid, SIGKILL);
  ASSERT_TRUE(run_until(context, [&] { return ended; }));
  EXPECT_EQ(pauses.size(), 2u);
}

TEST(Reaper, WhatADebuggerStopsIsNotTold) {
  boost::asio::io_context context;
  Reaper reaper(context);
  const pid_t pid = child_that([] {
    for (;;) ::pause();
  });
  bool ended = false;
  int pauses = 0;
  reaper.watch(
      pid, [&](WaitStatus) { ended = true; }, [&](int) { ++pauses; });
  // The tracer has to be another process than the parent: that is who is told.
  const pid_t debugger = child_that([pid] {
    if (::ptrace(PTRACE_ATTACH, pid, nullptr, nullptr) != 0) ::_exit(1);
    int status = 0;
    if (::waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status)) ::_exit(2);
    ::kill(pid, SIGUSR1);  // seen by the debugger first, which passes nothing on
    if (::ptrace(PTRACE_CONT, pid, nullptr, nullptr) != 0) ::_exit(3);
    if (::waitpid(pid, &status, 0) != pid || WSTOPSIG(status) != SIGUSR1) ::_exit(4);
    ::_exit(::ptrace(PTRACE_DETACH, pid, nullptr, nullptr) == 0 ? 0 : 5);
  });
  std::optional<WaitStatus> debugged;
  reaper.watch(debugger, [&](WaitStatus status) { debugged = status; });
  ASSERT_TRUE(run_until(context, [&] { return debugged.has_value(); }));
  if (debugged == WaitStatus(Exited{1})) {
    ::kill(pid, SIGKILL);
    GTEST_SKIP() << "ptrace is not allowed here";
  }
  EXPECT_EQ(debugged, WaitStatus(Exited{0}));
  ::kill(pid, SIGKILL);
  ASSERT_TRUE(run_until(context, [&] { return ended; }));
  EXPECT_EQ(pauses, 0);
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
