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
#include "launcher/job/preparation.h"

namespace boost::asio {
class io_context;
}

namespace megalaunch {

class Reaper;

/// The folder for the markers and logs of the steps that each node runs for itself. It is often on
/// storage that all machines share while what the steps leave is on a local disk; so it is another
/// one on another machine, in a container of another host name, and after a reboot.
std::filesystem::path node_steps_folder(const std::filesystem::path& run_dir, int node_rank,
                                        const std::string& host, const std::string& boot_id);

/// Does what has to be done before any rank starts: directories and copies (on a thread of its own,
/// since shared storage may be slow), then the job's `prepare:` steps as processes, one after the
/// other, each with its own log file and time-out. A step that is done leaves a marker and is not
/// repeated. Belongs to the thread that runs the context.
class Preparer {
 public:
  struct Work {
    std::vector<std::string> directories;
    std::vector<CopyRule> copies;
    std::vector<PrepareStep> steps;
    std::filesystem::path folder;  ///< for markers and logs; made if missing
    std::filesystem::path cwd;
    Variables environment;
  };

  /// `marker` as for RankGroup. The referenced objects outlive the preparer.
  Preparer(boost::asio::io_context& context, Reaper& reaper, Log log, std::string marker);
  ~Preparer();  ///< stops

  /// Calls `done` from the context, once. The error names the step or file, and shows the last
  /// lines of a failed step.
  void run(Work work, std::function<void(Status)> done);
  /// Kills a step that runs, with all that it started; `done` is not called any more.
  /// Afterwards only the destructor may be called.
  void stop();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace megalaunch
