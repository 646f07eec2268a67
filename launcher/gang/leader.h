#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "env/clock.h"
#include "env/log.h"
#include "env/result.h"
#include "launcher/causes/cause_rules.h"
#include "launcher/gang/coordinator.h"
#include "launcher/ranks/console.h"
#include "launcher/results/run_record.h"

namespace boost::asio {
class io_context;
}

namespace megalaunch {

/// What node 0 does beyond being an agent: it hosts the store and the agents' channel on one port,
/// and carries out what the Coordinator decides: orders, key spaces, reports, the journal. Belongs
/// to the thread that runs the context.
class Leader {
 public:
  struct Options {
    std::string bind_address;  ///< empty: all interfaces
    uint16_t port = 0;         ///< 0: a free one
    int store_threads = 0;     ///< 0: the store's own default
    std::string version;
    std::string job;
    std::string key;
    std::string run_name;  ///< the new run's id begins with it
    /// The run's id, chosen by somebody else. Then log_dir is this run's own folder, and no earlier
    /// run is continued.
    std::optional<std::string> run_id;
    milliseconds heartbeat_timeout{5000};
    std::filesystem::path log_dir;  ///< absolute
    RunRecord record;               ///< what is known of the run beforehand; the rest is filled in
    /// Computes what all ranks run in the next generation; null: each node runs its own command. An
    /// error ends the job.
    std::function<Result<RankCommand>(const Welcome&, int generation)> make_command;
    /// Shows a line of another node's rank on this console; false when it takes no more. May be
    /// null.
    std::function<bool(Console::Stream, std::string_view prefix, std::string_view line)> show;
    Coordinator::Settings
        coordinator;  ///< identity, history and first_generation are filled in from the journal
  };

  /// Listens, and takes up the run that the journal in log_dir says was not ended, or begins a new
  /// one. Fails when the port is in use (saying by whom), the log folder cannot be written, or the
  /// journal makes no sense; then nothing was changed. `finished` is called once, from the context,
  /// when the job is over for everyone. The references outlive the leader.
  static Result<std::unique_ptr<Leader>> start(boost::asio::io_context& context, const Clock& clock,
                                               Log log, const CauseRules& rules, Options options,
                                               std::function<void(int exit_code)> finished);
  ~Leader();

  /// Ends the job everywhere, unless it has ended; `finished` follows.
  void end(int exit_code, const std::string& why);

  uint16_t port() const;
  const Welcome& identity() const;

 private:
  struct State;
  explicit Leader(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;
};

}  // namespace megalaunch
