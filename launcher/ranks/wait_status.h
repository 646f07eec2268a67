#pragma once

#include <string>
#include <variant>

namespace megalaunch {

/// How a process ended.
struct Exited {
  int code = 0;
  bool operator==(const Exited&) const = default;
};
/// With a signal that stops and never kills (SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU): it was stopped
/// and did not go on, until somebody lost patience.
struct Signaled {
  int signal = 0;
  bool core_dumped = false;
  bool operator==(const Signaled&) const = default;
};
using WaitStatus = std::variant<Exited, Signaled>;

/// From the status word of waitpid().
WaitStatus wait_status_from(int raw_status);

inline bool succeeded(const WaitStatus& status) {
  return status == WaitStatus(Exited{0});
}

/// "exited with code 7", "was killed by SIGKILL (9)", "was killed by SIGSEGV (11), core dumped",
/// "was stopped by SIGSTOP (19) and did not go on".
std::string describe(const WaitStatus& status);

/// The signal stops a process that does not handle it, and kills none.
bool stops_process(int signal);

/// "SIGKILL"; "signal 42" for a number without a name.
std::string signal_name(int signal);

}  // namespace megalaunch
