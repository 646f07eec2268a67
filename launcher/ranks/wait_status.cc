#include "launcher/ranks/wait_status.h"

#include <fmt/core.h>
#include <signal.h>
#include <sys/wait.h>

#include <cstring>

namespace megalaunch {

WaitStatus wait_status_from(int raw_status) {
  if (WIFSIGNALED(raw_status)) return Signaled{WTERMSIG(raw_status), WCOREDUMP(raw_status) != 0};
  return Exited{WEXITSTATUS(raw_status)};
}

bool stops_process(int signal) {
  return signal == SIGSTOP || signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU;
}

std::string signal_name(int signal) {
  const char* abbreviation = ::sigabbrev_np(signal);
  return abbreviation != nullptr ? fmt::format("SIG{}", abbreviation)
                                 : fmt::format("signal {}", signal);
}

std::string describe(const WaitStatus& status) {
  if (const auto* exited = std::get_if<Exited>(&status))
    return fmt::format("exited with code {}", exited->code);
  const auto& signaled = std::get<Signaled>(status);
  if (stops_process(signaled.signal))
    return fmt::format("was stopped by {} ({}) and did not go on", signal_name(signaled.signal),
                       signaled.signal);
  return fmt::format("was killed by {} ({}){}", signal_name(signaled.signal), signaled.signal,
                     signaled.core_dumped ? ", core dumped" : "");
}

}  // namespace megalaunch
