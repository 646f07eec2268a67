#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>

#include "launcher/ranks/wait_status.h"

namespace boost::asio {
class io_context;
}

namespace megalaunch {

/// Reaps every child of this process, its own and those it inherits as PID 1 or subreaper, and
/// tells whoever watches a pid. There is one per process: it calls waitpid(-1). Driven by SIGCHLD,
/// never polls. Belongs to the thread that runs the context.
class Reaper {
 public:
  using Handler = std::function<void(WaitStatus)>;
  /// The signal that stopped the child (SIGSTOP, SIGTSTP, SIGTTIN or SIGTTOU); 0: it goes on again.
  using PauseHandler = std::function<void(int signal)>;

  explicit Reaper(boost::asio::io_context& context);
  ~Reaper();
  Reaper(const Reaper&) = delete;
  Reaper& operator=(const Reaper&) = delete;

  /// Calls `handler` once, from the context, when `pid` has ended. The child must have been started
  /// by the thread that runs the context, after the last return to the context: then its end cannot
  /// have been reaped before.
  ///
  /// Until then calls `paused`, if given, when the child is stopped and when it goes on. What a
  /// debugger does to it is not told: the kernel reports that to the debugger alone.
  void watch(pid_t pid, Handler handler, PauseHandler paused = nullptr);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace megalaunch
