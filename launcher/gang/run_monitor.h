#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string_view>

#include "env/clock.h"
#include "env/log.h"
#include "launcher/causes/training_progress.h"

namespace boost::asio {
class io_context;
}

namespace megalaunch {

class LogPump;

/// Watches how training goes from the ranks' own lines: shows it (a status line on a terminal, a
/// line a minute elsewhere) and appends it to the run's samples, with what the GPUs say where there
/// are any. Only watches: whatever goes wrong here is said once and changes nothing, and nobody
/// waits for storage, but finish().
class RunMonitor {
 public:
  struct Options {
    std::int64_t sequence_length = 0;  ///< 0: unknown
    seconds summary_every{60};
    seconds gpu_every{15};
  };

  /// The clock outlives the monitor.
  RunMonitor(const Clock& clock, Options options);
  ~RunMonitor();

  /// Begins to show on `pump` by timers of `context`; both, and the log, outlive stop().
  void start(boost::asio::io_context& context, LogPump& pump, Log log);
  /// Shows and says nothing any more; what it sees still becomes samples.
  void stop();
  /// After stop() and the last line: gives storage `patience` to take all samples. Returns how many
  /// it did not take in the whole run.
  std::uint64_t finish(milliseconds patience);

  // --- from the agent's thread
  void begin_run(const std::filesystem::path& run_dir, int node_rank);
  void begin_generation(int generation, int world_size);
  /// How far training came in any generation, as ranks of this node printed it.
  TrainingProgress furthest() const;

  /// From the log pump's thread: one line of a rank.
  void see_line(int rank, std::string_view line, SteadyTime read_at);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace megalaunch
