#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "env/clock.h"
#include "env/log.h"
#include "env/result.h"
#include "env/variables.h"
#include "launcher/gang/rank_hooks.h"
#include "launcher/ranks/console.h"
#include "launcher/ranks/patience.h"
#include "launcher/ranks/rank_log.h"

namespace boost::asio {
class io_context;
}

namespace megalaunch {

class LogPump;
struct GpuHolder;
class Reaper;
class RunMonitor;
struct Welcome;

/// One node of the gang: joins node 0, starts and stops this node's ranks as it is told, and
/// reports how they end. When node 0 is gone it stops its ranks and knocks until it is back. Every
/// node runs one, node 0 beside its Leader. Belongs to the thread that runs the context, which must
/// be the main thread (see spawn()).
class Agent {
 public:
  struct Options {
    // the gang
    std::string version;
    std::string job;
    std::string key;
    std::string leader_host;  ///< where to knock
    uint16_t leader_port = 0;
    std::string master_addr;  ///< what ranks get as MASTER_ADDR and MASTER_PORT: the same place, as
                              ///< ranks should spell it
    std::optional<int> node_rank;
    milliseconds join_timeout{600'000};
    milliseconds heartbeat_timeout{5000};

    // its ranks
    int ranks = 1;
    std::filesystem::path program;  ///< absolute
    std::vector<std::string> argv;  ///< argv[0] included
    std::filesystem::path cwd;      ///< these three when node 0 sends no command
    Variables environment;          ///< what ranks inherit
    std::string marker;             ///< NAME=VALUE, unique to this agent; see RankGroup
    std::optional<uint64_t>
        open_files;               ///< soft limit of open files for ranks; nothing: this process's
    milliseconds grace{30'000};   ///< when this agent has to stop its ranks by itself
    milliseconds pause_limit{0};  ///< a rank stopped by a signal for so long has failed; 0: never

    /// Before this node says that its ranks are gone, none of them may hold a GPU any more.
    struct GpuCheck {
      std::function<std::vector<GpuHolder>()> holders;  ///< null: not checked
      /// Ranks that lived for less have not come as far as to use one.
      milliseconds after_life_of{3000};
      milliseconds patience{kGpuPatience};  ///< then the node goes on all the same, and says so
    };
    GpuCheck gpus;

    /// Whether the console shows a stream of a rank, of so many ranks.
    std::function<bool(int rank, int world_size, Console::Stream)> on_console;
    /// Whether the same line of several ranks is shown once; see LineCollapser.
    bool collapse_lines = false;
    /// Whether node 0 shows what this rank prints, wherever it runs; may be null.
    std::function<bool(int rank, int world_size)> node_0_shows;
    LogCap log_cap;                ///< of each of its ranks' log files
    bool forward_signals = false;  ///< ranks get the signal that this agent was sent, not SIGTERM
    RankHooks hooks;               ///< what another front end wants different
    std::shared_ptr<RunMonitor> monitor;  ///< told how the run goes; may be null
    milliseconds progress_every{10'000};  ///< how often node 0 is told, while training gets further
    /// Runs the preparation; null when the job has none. Calls back from the context. An error ends
    /// the job.
    std::function<void(const Welcome&, bool first, std::function<void(Status)> done)> prepare;
  };

  /// `finished` is called once, from the context, with the exit status of the job. The references
  /// outlive the agent.
  Agent(boost::asio::io_context& context, Reaper& reaper, const Clock& clock, Log log,
        LogPump& pump, Options options, std::function<void(int exit_code)> finished);
  /// Kills ranks that still run.
  ~Agent();

  void start();
  /// A signal that means to stop: the whole gang stops gracefully; a second one stops at once.
  void interrupt(int signal);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace megalaunch
