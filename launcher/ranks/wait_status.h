#pragma once

#include <string>
#include <variant>

namespace megalaunch {

/// How a process ended.
struct Exited {
  int code = 0;
  bool operator==(const Exited&) const = default;
};
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

/// "exited with code 7", "was killed by SIGKILL (9)", "was killed by SIGSEGV (11), core dumped".
std::string describe(const WaitStatus& status);

/// "SIGKILL"; "signal 42" for a number without a name.
std::string signal_name(int signal);

}  // namespace megalaunch
