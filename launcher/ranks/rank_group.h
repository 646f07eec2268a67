#pragma once

#include <sys/types.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "env/clock.h"
#include "env/log.h"
#include "env/result.h"
#include "launcher/ranks/spawn.h"
#include "launcher/ranks/wait_status.h"

namespace boost::asio {
class io_context;
}

namespace megalaunch {

class Reaper;

/// One rank to start: the process and where its output goes.
struct RankSpec {
  int rank = 0;                       ///< global
  int local_rank = 0;                 ///< on this node
  SpawnRequest process;               ///< without descriptors
  std::filesystem::path stdout_path;  ///< made or appended to; the rank writes into it directly
  std::filesystem::path stderr_path;  ///< either may be empty: it writes where this process does
  bool inherit_stdin = false;         ///< it reads what this process would read; else nothing
};

/// How one rank ended.
struct RankExit {
  int rank = 0;
  int local_rank = 0;
  pid_t pid = 0;
  WaitStatus status;
  WallTime time;
  bool stopped_by_us = false;  ///< it was still running when we began to stop the group
};

/// A rank was stopped by a signal such as SIGSTOP, or goes on again.
struct RankPause {
  int rank = 0;
  int local_rank = 0;
  pid_t pid = 0;
  int signal = 0;         ///< 0: it goes on
  nanoseconds lasted{0};  ///< when it goes on: how long it had been stopped
};

/// All ranks of one node in one generation, with everything they start: it is not over before the
/// last descendant is gone, whichever group, session or parent that has by now. Started once,
/// stopped once. Belongs to the thread that runs the context. Destroying it while ranks run kills
/// them, without waiting.
class RankGroup {
 public:
  struct Events {
    std::function<void(const RankExit&)> on_exit;  ///< once per rank
    /// May be null. Not called for what happens while the group is being stopped.
    std::function<void(const RankPause&)> on_pause;
  };

  /// `marker` is a NAME=VALUE that every rank has in its environment and no process of anybody
  /// else: by it descendants are found. The referenced objects outlive the group.
  ///
  /// A rank that is stopped (SIGSTOP) and does not go on within `pause_limit` counts as ended, with
  /// that signal and as of when it was stopped; so does one that is stopped when the group is told
  /// to stop. Its process lives until then. A limit of 0: for as long as it likes.
  RankGroup(boost::asio::io_context& context, Reaper& reaper, const Clock& clock, Log log,
            std::string marker, Events events, milliseconds pause_limit = milliseconds(0));
  ~RankGroup();
  RankGroup(const RankGroup&) = delete;
  RankGroup& operator=(const RankGroup&) = delete;

  /// Starts all ranks, or none: when one cannot be started, those that run are killed and the error
  /// is returned; stop() then tells when they are gone.
  Status start(const std::vector<RankSpec>& ranks);

  /// Stops what is left: `first_signal` (SIGTERM) and SIGCONT to every rank's process group and to
  /// descendants outside of it, SIGKILL after `grace`. Calls `done` from the context when no
  /// process is left, also when none was. Calling it again shortens the grace; the last `done`
  /// counts.
  void stop(milliseconds grace, std::function<void()> done, int first_signal = 15);

  /// Sends `signal` to every living rank's process group, for instance one that a person sent to
  /// the agent.
  void forward(int signal);

  int living() const;
  /// Pids of the ranks, by local rank; 0 for one that has ended.
  std::vector<pid_t> pids() const;
  /// Whether this process is or was a rank, or was found among their descendants by stop().
  bool had(pid_t pid) const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace megalaunch
