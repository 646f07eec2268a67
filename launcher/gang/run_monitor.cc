#include "launcher/gang/run_monitor.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <mutex>
#include <optional>

#include "env/platform.h"
#include "launcher/ranks/log_pump.h"
#include "launcher/results/checkpoint_line.h"
#include "launcher/results/iteration_line.h"
#include "launcher/results/nvml_monitor.h"
#include "launcher/results/progress.h"
#include "launcher/results/sample_queue.h"

namespace megalaunch {
namespace {

constexpr seconds kStatusEvery{1};
/// Training prints a few lines a second, or some hundred at once when its output is buffered. Who
/// prints more than this floods, and reading it all would cost more than it tells.
constexpr int kMaxLinesPerSecond = 2000;

/// Counts lines of one sort, to tell when they are too many to read them all.
class Flood {
 public:
  /// One more line: is it to be passed over?
  bool drowns(SteadyTime now) {
    if (now - second_began_ >= seconds(1)) {
      second_began_ = now;
      lines_ = 0;
    }
    return ++lines_ > kMaxLinesPerSecond;
  }

 private:
  SteadyTime second_began_{};
  int lines_ = 0;  ///< in this second
};

}  // namespace

struct RunMonitor::State {
  State(const Clock& clock_ref, Options options_value) : clock(clock_ref), options(options_value) {}

  const Clock& clock;
  const Options options;

  // --- the agent's thread
  LogPump* pump = nullptr;
  std::optional<Log> log;
  std::optional<boost::asio::steady_timer> show_timer;
  std::optional<boost::asio::steady_timer> gpu_timer;
  std::unique_ptr<GpuMonitor> gpus;
  int node_rank = 0;
  int ranks = 0;

  // --- the pump's thread
  Flood table_lines;  ///< those with bars, as Megatron's iterations and memory
  Flood other_lines;

  // --- both threads
  std::optional<SampleQueue> samples;
  std::mutex mutex;  ///< nobody does anything that may block under it; of all that follows
  std::optional<Progress> progress;
  std::optional<std::int64_t> checkpoint;  ///< iteration of the newest complete one
  int generation = 0;
  WallTime generation_start;
  bool new_sample = false;  ///< since the last summary

  void see_checkpoint(std::string_view line) {
    const auto iteration = parse_checkpoint_line(line);
    if (!iteration) return;
    const std::lock_guard lock(mutex);
    checkpoint = std::max(checkpoint, iteration);
  }

  void show_later(seconds after) {
    show_timer->expires_after(after);
    show_timer->async_wait([this](const boost::system::error_code& error) {
      if (error) return;
      show();
      show_later(pump->terminal_width() > 0 ? kStatusEvery : options.summary_every);
    });
  }

  void show() {
    const WallTime now = clock.wall();
    const int width = pump->terminal_width();
    const std::lock_guard lock(mutex);
    if (!progress) return;
    if (width > 0) {
      pump->set_status(progress->latest() ? progress->status_line(width, now) : waiting_line(now));
    } else if (std::exchange(new_sample, false)) {
      log->info("{}", progress->summary_line(now));
    }
  }

  std::string waiting_line(WallTime now) const {
    return fmt::format("{} rank{} | generation {} | no iteration yet after {} s", ranks,
                       ranks == 1 ? "" : "s", generation,
                       std::chrono::duration_cast<seconds>(now - generation_start).count());
  }

  /// The driver's library costs 20 MiB and its opening some milliseconds: loaded only for a job
  /// that trains.
  bool gpus_are_open() {
    const std::lock_guard lock(mutex);
    if (gpus || !progress || !progress->latest()) return gpus != nullptr;
    auto opened = open_nvml();
    if (opened) gpus = std::move(*opened);
    return gpus != nullptr;
  }

  void sample_gpus_later() {
    gpu_timer->expires_after(options.gpu_every);
    gpu_timer->async_wait([this](const boost::system::error_code& error) {
      if (error) return;
      if (!gpus_are_open()) return sample_gpus_later();
      auto round = gpus->sample();
      {
        const std::lock_guard lock(mutex);
        for (const GpuSample& each : round)
          if (progress && each.memory_mib) progress->feed_gpu_memory(*each.memory_mib);
        samples->add(clock.wall(), generation, node_rank, std::move(round));
      }
      sample_gpus_later();
    });
  }
};

RunMonitor::RunMonitor(const Clock& clock, Options options)
    : state_(std::make_unique<State>(clock, options)) {}
RunMonitor::~RunMonitor() = default;

void RunMonitor::start(boost::asio::io_context& context, LogPump& pump, Log log) {
  state_->pump = &pump;
  state_->samples.emplace([log](const std::string& text) { log.warn("{}", text); });
  state_->log = std::move(log);
  state_->show_timer.emplace(context);
  state_->gpu_timer.emplace(context);
}

void RunMonitor::stop() {
  if (state_->show_timer) state_->show_timer->cancel();
  if (state_->gpu_timer) state_->gpu_timer->cancel();
  if (state_->samples) state_->samples->mute();
}

std::uint64_t RunMonitor::finish(milliseconds patience) {
  return state_->samples ? state_->samples->finish(patience) : 0;
}

void RunMonitor::begin_run(const std::filesystem::path& run_dir, int node_rank) {
  state_->node_rank = node_rank;
  state_->samples->open(samples_path(run_dir, node_rank));
  if (count_gpus()) state_->sample_gpus_later();
}

void RunMonitor::begin_generation(int generation, int world_size) {
  {
    const std::lock_guard lock(state_->mutex);
    const WallTime now = state_->clock.wall();
    if (!state_->progress)
      state_->progress.emplace(now, Progress::Job{world_size, state_->options.sequence_length});
    state_->progress->begin_generation(generation, now);
    state_->generation = generation;
    state_->generation_start = now;
    state_->ranks = world_size;
  }
  state_->show_later(state_->pump->terminal_width() > 0 ? kStatusEvery
                                                        : state_->options.summary_every);
}

TrainingProgress RunMonitor::furthest() const {
  const std::lock_guard lock(state_->mutex);
  TrainingProgress furthest{std::nullopt, state_->checkpoint};
  if (state_->progress && state_->progress->furthest_iteration() > 0)
    furthest.iteration = state_->progress->furthest_iteration();
  return furthest;
}

void RunMonitor::see_line(int rank, std::string_view line, SteadyTime read_at) {
  const bool has_bars = line.find('|') != std::string_view::npos;
  Flood& flood = has_bars ? state_->table_lines : state_->other_lines;
  if (flood.drowns(read_at)) return;
  state_->see_checkpoint(line);
  if (!has_bars) return;
  const std::lock_guard lock(state_->mutex);
  if (!state_->progress) return;
  const WallTime now = state_->clock.wall();
  if (const auto sample = state_->progress->feed(rank, line, now)) {
    state_->new_sample = true;
    state_->samples->add(now, state_->generation, rank, *sample);
  } else if (const auto memory = parse_memory_line(line)) {
    state_->samples->add(now, state_->generation, memory->rank.value_or(rank), *memory);
  }
}

}  // namespace megalaunch
