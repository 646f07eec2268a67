#pragma once

#include <string>

#include "env/result.h"
#include "env/unique_fd.h"

namespace megalaunch {

/// A small process beside the agent that outlives it by a moment: when the agent is gone without a
/// word (SIGKILL, a crash), it kills every process that carries the agent's marker in its
/// environment. The kernel kills the ranks themselves (parent-death signal); this is for what they
/// had started.
class Warden {
 public:
  /// Forks. Call it before any thread is started. `marker` is NAME=VALUE, unique to this agent.
  static Result<Warden> start(const std::string& marker);

  /// The agent has cleaned up itself: the warden leaves without looking. Destroying does the same.
  void dismiss();
  ~Warden() { dismiss(); }
  Warden(Warden&&) = default;
  Warden& operator=(Warden&&) = delete;

 private:
  explicit Warden(UniqueFd lifeline) : lifeline_(std::move(lifeline)) {}
  UniqueFd lifeline_;  ///< its end without a byte is the agent's death
};

}  // namespace megalaunch
