#include "launcher/ranks/warden.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launcher/ranks/process_tree.h"
#include "launcher/ranks/spawn.h"
#include "tests/lib/processes.h"
#include "tests/lib/temp_dir.h"

namespace megalaunch {
namespace {

/// A stand-in for the agent, in a process of its own: a warden and a child with the marker.
class WardenTest : public testing::Test {
 protected:
  /// `at_the_end`: what it does once the script has written "ready".
  pid_t agent(const std::string& script, void (*at_the_end)(Warden&)) {
    const pid_t pid = ::fork();
    if (pid > 0) return pid;
    auto warden = Warden::start(marker_);
    if (!warden) ::_exit(9);
    const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
    SpawnRequest request;
    request.program = "/bin/sh";
    request.argv = {"sh", "-c", script};
    request.environment = {"PATH=/usr/bin:/bin", marker_};
    request.cwd = dir_.path();
    request.stdin_fd = request.stdout_fd = request.stderr_fd = null.get();
    if (!spawn(request)) ::_exit(9);
    wait_until([&] { return pid_in(dir_.path() / "ready") > 0; });
    at_the_end(*warden);
    ::_exit(0);
  }
  pid_t number_in(const char* name) {
    EXPECT_TRUE(wait_until([&] { return pid_in(dir_.path() / name) > 0; })) << name;
    return pid_in(dir_.path() / name);
  }
  bool none_left() { return processes_with_variable(marker_).empty(); }

  TempDir dir_;
  const std::string marker_ = "MEGALAUNCH_AGENT=warden-" + dir_.path().filename().string();
};

TEST_F(WardenTest, NothingOutlivesAKilledAgentByASecond) {
  const pid_t parent = agent(
      "setsid sh -c 'trap \"\" TERM; echo $$ > far; while :; do sleep 0.01; done' & "
      "(setsid sleep 600 & echo $! > orphan) & "
      "while ! test -s far || ! test -s orphan; do sleep 0.01; done; echo $$ > ready; sleep 600",
      [](Warden&) {
        for (;;) ::pause();
      });
  const pid_t rank = number_in("ready"), far = number_in("far"), orphan = number_in("orphan");
  ASSERT_TRUE(is_alive(rank) && is_alive(far) && is_alive(orphan));
  ::kill(parent, SIGKILL);
  ::waitpid(parent, nullptr, 0);
  EXPECT_TRUE(wait_until([&] { return none_left(); }, seconds(1)));
  EXPECT_FALSE(is_alive(rank) || is_alive(far) || is_alive(orphan));
}

TEST_F(WardenTest, AnAgentThatLeavesWithoutAWordIsCleanedUpAfterToo) {
  const pid_t parent =
      agent("setsid sleep 600 & echo $! > far; echo $$ > ready; wait", [](Warden&) { ::_exit(1); });
  const pid_t far = number_in("far");
  ::waitpid(parent, nullptr, 0);
  EXPECT_TRUE(wait_until([&] { return !is_alive(far); }, seconds(1)));
}

TEST_F(WardenTest, ADismissedWardenLeavesWithoutLooking) {
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  const pid_t parent = agent("setsid sleep 600 & echo $! > far; echo $$ > ready; wait",
                             [](Warden& warden) { warden.dismiss(); });
  const pid_t far = number_in("far");
  ::waitpid(parent, nullptr, 0);
  // The rank, which the kernel killed, and the warden have come to us. Once both are reaped the
  // warden has decided.
  for (int i = 0; i < 2; ++i) EXPECT_GT(::waitpid(-1, nullptr, 0), 0);
  EXPECT_TRUE(is_alive(far));
  ::kill(far, SIGKILL);
  while (::waitpid(-1, nullptr, 0) > 0) {
  }
  ::prctl(PR_SET_CHILD_SUBREAPER, 0);
}

}  // namespace
}  // namespace megalaunch
