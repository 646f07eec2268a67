#pragma once

namespace megalaunch {

/// What the launcher's exit status says. 1 to 127 otherwise: the failed rank's own code, for causes
/// that another attempt does not cure. 128 and above: another attempt by the platform may help.
enum ExitCode : int {
  kExitSuccess = 0,
  kExitFailure = 1,
  kExitUsage = 2,           ///< wrong flags, job file or environment
  kExitRefused = 3,         ///< the checks refuse the job
  kExitInterrupted = 130,   ///< stopped by SIGINT
  kExitTerminated = 143,    ///< stopped by SIGTERM
  kExitRetriesSpent = 144,  ///< the restarts are used up on a cause that a retry can cure
  kExitNodesMissing = 145,  ///< nodes missing at the join time-out; or this one, which node 0 gave
                            ///< up because it did not stop its ranks
};

/// Of a job or process that a signal ended, as shells count: 128 + its number.
constexpr int exit_code_of_signal(int signal) {
  return 128 + signal;
}

}  // namespace megalaunch
