#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "env/clock.h"
#include "env/log.h"
#include "env/result.h"
#include "env/variables.h"
#include "launcher/job/job.h"

namespace boost::asio {
class io_context;
}

namespace megalaunch {

class Reaper;

/// The `prepare:` steps of a job on one node, one after the other, before any rank starts: each
/// with its own log file and time-out, its process group stopped with it. A step that succeeded
/// leaves a marker and is not run again. Belongs to the thread that runs the context, which must be
/// the main thread (see spawn()).
class PrepareRun {
 public:
  struct Options {
    std::vector<PrepareStep> steps;
    bool first = false;  ///< this is node 0, which runs the `on: first` steps too
    std::filesystem::path cwd;
    Variables environment;
    std::filesystem::path log_dir;  ///< gets prepare-<number>.log; made when missing
    /// Where markers of `on: first` steps lie: shared, kept over restarts of the job, such as
    /// <output>/.megalaunch.
    std::filesystem::path shared_markers;
    /// Where markers of `on: each` steps lie: as short-lived as what the step made on this node,
    /// such as /tmp/megalaunch.
    std::filesystem::path local_markers;
    milliseconds grace{10'000};  ///< from SIGTERM to SIGKILL
  };

  /// `done` is called once, from the context: success when every step of this node has succeeded,
  /// now or earlier. The error names the step, how it ended, its log and its last lines. The
  /// references outlive the run.
  PrepareRun(boost::asio::io_context& context, Reaper& reaper, Log log, Options options,
             std::function<void(Status)> done);
  /// Kills the step that runs.
  ~PrepareRun();
  PrepareRun(const PrepareRun&) = delete;
  PrepareRun& operator=(const PrepareRun&) = delete;

  void start();
  /// Stops the step that runs; `done` gets an error.
  void stop();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace megalaunch
