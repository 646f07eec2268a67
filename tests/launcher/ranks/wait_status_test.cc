#include "launcher/ranks/wait_status.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

namespace megalaunch {
namespace {

WaitStatus end_of(int code, int signal) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    if (signal != 0) ::kill(::getpid(), signal);
    ::_exit(code);
  }
  int raw_status = 0;
  ::waitpid(pid, &raw_status, 0);
  return wait_status_from(raw_status);
}

TEST(WaitStatus, EveryExitCodeIsTold) {
  for (const int code : {0, 1, 2, 127, 128, 137, 255})
    EXPECT_EQ(end_of(code, 0), WaitStatus(Exited{code}));
  EXPECT_TRUE(succeeded(end_of(0, 0)));
  EXPECT_FALSE(succeeded(end_of(1, 0)));
}

TEST(WaitStatus, EverySignalIsTold) {
  for (const int signal : {SIGHUP, SIGINT, SIGKILL, SIGTERM, SIGUSR1}) {
    EXPECT_EQ(end_of(0, signal), WaitStatus(Signaled{signal, false}));
    EXPECT_FALSE(succeeded(end_of(0, signal)));
  }
}

TEST(WaitStatus, IsDescribedInWords) {
  EXPECT_EQ(describe(WaitStatus(Exited{7})), "exited with code 7");
  EXPECT_EQ(describe(WaitStatus(Signaled{9, false})), "was killed by SIGKILL (9)");
  EXPECT_EQ(describe(WaitStatus(Signaled{11, true})), "was killed by SIGSEGV (11), core dumped");
  EXPECT_EQ(describe(WaitStatus(Signaled{SIGSTOP, false})),
            "was stopped by SIGSTOP (19) and did not go on");
  EXPECT_EQ(signal_name(SIGRTMIN + 3), "signal 37");
}

}  // namespace
}  // namespace megalaunch
