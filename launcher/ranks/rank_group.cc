#include "launcher/ranks/rank_group.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <optional>
#include <set>
#include <utility>

#include "env/unique_fd.h"
#include "launcher/ranks/patience.h"
#include "launcher/ranks/process_tree.h"
#include "launcher/ranks/reaper.h"

namespace megalaunch {
namespace {

/// Between two looks at descendants that are not our children, whose end the kernel does not tell
/// us.
/// Doubles from the first to the longest, because each look reads all of /proc.
constexpr milliseconds kFirstLookAgain{5};
constexpr milliseconds kLongestLookAgain{250};

/// A copy of one of our own descriptors 0 to 2.
Result<UniqueFd> share(int fd) {
  UniqueFd copy(::fcntl(fd, F_DUPFD_CLOEXEC, 3));
  if (!copy) return errno_error(errno, fmt::format("copy descriptor {}", fd));
  return copy;
}

/// `own` is what the rank gets when no file is named.
Result<UniqueFd> open_log(const std::filesystem::path& path, int own) {
  if (path.empty()) return share(own);
  UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  if (!file) return errno_error(errno, fmt::format("open the log file {}", path.string()));
  return file;
}

/// The process has ended, though nobody has collected it yet.
bool is_zombie(pid_t pid) {
  siginfo_t info{};
  return ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
         info.si_pid == pid;
}

struct LiveRank {
  int rank = 0;
  int local_rank = 0;
  pid_t pid = 0;
  bool alive = false;
  bool exit_told = false;
  bool ended_before_stop = false;  ///< it was dead when the others were signalled
  int paused_by = 0;               ///< the signal that stopped it; 0 while it runs
  SteadyTime paused_since{};
  WallTime paused_at{};
};

}  // namespace

struct RankGroup::State : std::enable_shared_from_this<State> {
  State(boost::asio::io_context& io, Reaper& reaper_ref, const Clock& clock_ref, Log log_value,
        std::string marker_value, Events events_value, milliseconds pause_limit_value)
      : context(io),
        reaper(reaper_ref),
        clock(clock_ref),
        log(std::move(log_value)),
        marker(std::move(marker_value)),
        events(std::move(events_value)),
        pause_limit(pause_limit_value),
        timer(io),
        pause_timer(io) {}

  Status start(const std::vector<RankSpec>& specs) {
    const UniqueFd no_input(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    if (!no_input) return errno_error(errno, "open /dev/null");
    auto own_input = share(STDIN_FILENO);
    if (!own_input) return fail(std::move(own_input).error());
    // All files before the first process, so that a full or read-only disk starts nothing.
    std::vector<std::pair<UniqueFd, UniqueFd>> files;
    for (const RankSpec& spec : specs) {
      auto out = open_log(spec.stdout_path, STDOUT_FILENO);
      if (!out) return fail(std::move(out).error());
      auto err = !spec.stderr_path.empty() && spec.stderr_path == spec.stdout_path
                     ? Result<UniqueFd>(UniqueFd(::fcntl(out->get(), F_DUPFD_CLOEXEC, 3)))
                     : open_log(spec.stderr_path, STDERR_FILENO);
      if (!err) return fail(std::move(err).error());
      files.emplace_back(std::move(*out), std::move(*err));
    }
    for (size_t i = 0; i < specs.size(); ++i) {
      SpawnRequest request = specs[i].process;
      request.stdin_fd = specs[i].inherit_stdin ? own_input->get() : no_input.get();
      request.new_session = specs[i].inherit_stdin;
      request.stdout_fd = files[i].first.get();
      request.stderr_fd = files[i].second.get();
      auto pid = spawn(request);
      if (!pid) {
        stopping = true;
        kill_at = clock.steady();
        kill_everything();
        return fail(std::move(pid).error().within(fmt::format("rank {}", specs[i].rank)));
      }
      ranks.push_back({specs[i].rank, specs[i].local_rank, *pid, /*alive=*/true});
      reaper.watch(
          *pid,
          [weak = weak_from_this(), index = i](WaitStatus status) {
            if (const auto self = weak.lock()) self->ended(index, status);
          },
          [weak = weak_from_this(), index = i](int signal) {
            if (const auto self = weak.lock()) self->paused(index, signal);
          });
    }
    return {};
  }

  void ended(size_t index, WaitStatus status) {
    ranks[index].alive = false;
    tell_exit(index, status, clock.wall(), stopping && !ranks[index].ended_before_stop);
    if (stopping) look();
  }

  void tell_exit(size_t index, WaitStatus status, WallTime time, bool stopped_by_us) {
    LiveRank& rank = ranks[index];
    if (std::exchange(rank.exit_told, true)) return;
    const RankExit exit{rank.rank, rank.local_rank, rank.pid, status, time, stopped_by_us};
    if (events.on_exit) events.on_exit(exit);
  }

  void paused(size_t index, int signal) {
    LiveRank& rank = ranks[index];
    if (stopping || rank.exit_told) return;
    RankPause pause{rank.rank, rank.local_rank, rank.pid, signal, nanoseconds(0)};
    if (rank.paused_by == 0) {
      if (signal == 0) return;
      rank.paused_since = clock.steady();
      rank.paused_at = clock.wall();
    } else if (signal == 0) {
      pause.lasted = clock.steady() - rank.paused_since;
    }
    rank.paused_by = signal;
    await_pauses();
    if (events.on_pause) events.on_pause(pause);
  }

  /// Sleeps until the first of the stopped ranks has been so for too long.
  void await_pauses() {
    std::optional<SteadyTime> first;
    for (const LiveRank& rank : ranks)
      if (is_paused(rank)) first = std::min(first.value_or(rank.paused_since), rank.paused_since);
    if (!first || pause_limit == milliseconds(0)) {
      pause_timer.cancel();
      return;
    }
    pause_timer.expires_at(*first + pause_limit);
    pause_timer.async_wait([weak = weak_from_this()](const boost::system::error_code& error) {
      const auto self = weak.lock();
      if (error || !self || self->stopping) return;
      self->give_up_paused(self->clock.steady() - self->pause_limit);
      if (!self->stopping) self->await_pauses();
    });
  }

  static bool is_paused(const LiveRank& rank) {
    return rank.alive && !rank.exit_told && rank.paused_by != 0;
  }

  /// Those that have been stopped since then, or longer, count as ended.
  void give_up_paused(SteadyTime since) {
    for (size_t i = 0; i < ranks.size(); ++i)
      if (is_paused(ranks[i]) && ranks[i].paused_since <= since)
        tell_exit(i, Signaled{ranks[i].paused_by}, ranks[i].paused_at, /*stopped_by_us=*/false);
  }

  int living() const {
    return static_cast<int>(
        std::count_if(ranks.begin(), ranks.end(), [](const LiveRank& r) { return r.alive; }));
  }

  void signal_groups(int signal) const {
    for (const LiveRank& rank : ranks)
      if (rank.alive) ::kill(-rank.pid, signal);
  }

  /// Processes of ours that are not ranks: descendants of living ranks, those of ended ranks that
  /// were found in time (the subreaper inherits them), and whoever carries the marker.
  std::vector<pid_t> stragglers() const {
    std::vector<pid_t> found = processes_with_variable(marker);
    std::vector<pid_t> living_ranks;
    for (const LiveRank& rank : ranks)
      if (rank.alive) living_ranks.push_back(rank.pid);
    const auto below = descendants_of(std::move(living_ranks));
    found.insert(found.end(), below.begin(), below.end());
    if (!descendants.empty())
      for (const pid_t pid : descendants_of({::getpid()}))
        if (descendants.contains(pid)) found.push_back(pid);
    std::sort(found.begin(), found.end());
    found.erase(std::unique(found.begin(), found.end()), found.end());
    std::erase_if(found, [this](pid_t pid) {
      return std::any_of(ranks.begin(), ranks.end(),
                         [pid](const LiveRank& rank) { return rank.alive && rank.pid == pid; });
    });
    return found;
  }

  void stop(milliseconds grace, std::function<void()> done, int first_signal) {
    if (finished) return boost::asio::post(context, std::move(done));
    pause_timer.cancel();
    // Whoever is told may call us in turn; then the end of this call is the second one.
    if (!stopping && pause_limit > milliseconds(0)) give_up_paused(clock.steady());
    when_done = std::move(done);
    const SteadyTime kill_time = clock.steady() + grace;
    if (!stopping) {
      for (LiveRank& rank : ranks) rank.ended_before_stop = rank.alive && is_zombie(rank.pid);
      stopping = true;
      kill_at = kill_time;
      terminate(first_signal);
    }
    kill_at = std::min(kill_at, kill_time);
    // Never from inside the caller's own call.
    boost::asio::post(context, [self = shared_from_this()] { self->look(); });
  }

  void terminate(int first_signal) {
    const auto others = stragglers();
    descendants.insert(others.begin(), others.end());
    for (const int signal : {first_signal, SIGCONT}) {
      signal_groups(signal);
      for (const pid_t pid : others) ::kill(pid, signal);
    }
  }

  void kill_everything() {
    const auto others = stragglers();
    descendants.insert(others.begin(), others.end());
    signal_groups(SIGKILL);
    for (const pid_t pid : others) ::kill(pid, SIGKILL);
  }

  /// One look at what is left: finished, wait for the grace to end, or kill.
  void look() {
    if (finished) return;
    const int ranks_left = living();
    const SteadyTime now = clock.steady();
    if (now >= kill_at) {
      kill_everything();
      if (!killed_since) killed_since = now;
    }
    const std::vector<pid_t> others = ranks_left == 0 ? stragglers() : std::vector<pid_t>();
    if (ranks_left == 0 && others.empty()) return finish();
    if (killed_since && now - *killed_since > kUninterruptiblePatience) {
      report_unkillable(others);
      return finish();
    }
    // While a rank lives its end wakes us; only the deadline has to. Stragglers have to be looked
    // at.
    const SteadyTime look_again = now + look_pause;
    if (ranks_left == 0 || killed_since) look_pause = std::min(look_pause * 2, kLongestLookAgain);
    timer.expires_at(ranks_left > 0 && !killed_since ? kill_at : look_again);
    timer.async_wait([self = shared_from_this()](const boost::system::error_code& error) {
      if (!error) self->look();
    });
  }

  void report_unkillable(const std::vector<pid_t>& others) const {
    const auto report = [this](pid_t pid) {
      log.error(
          "process {} ({}) does not end although it was sent SIGKILL {} s ago; it is stuck in the "
          "kernel. Going on "
          "without waiting for it.",
          pid, command_line_of(pid), kUninterruptiblePatience.count());
    };
    for (const LiveRank& rank : ranks)
      if (rank.alive) report(rank.pid);
    for (const pid_t pid : others) report(pid);
  }

  void finish() {
    finished = true;
    timer.cancel();
    if (when_done) std::exchange(when_done, nullptr)();
  }

  boost::asio::io_context& context;
  Reaper& reaper;
  const Clock& clock;
  Log log;
  std::string marker;
  Events events;
  milliseconds pause_limit;
  boost::asio::steady_timer timer;
  boost::asio::steady_timer pause_timer;
  std::vector<LiveRank> ranks;
  std::set<pid_t> descendants;  ///< that were found, living or not
  bool stopping = false;
  bool finished = false;
  SteadyTime kill_at{};
  std::optional<SteadyTime> killed_since;
  milliseconds look_pause = kFirstLookAgain;
  std::function<void()> when_done;
};

RankGroup::RankGroup(boost::asio::io_context& context, Reaper& reaper, const Clock& clock, Log log,
                     std::string marker, Events events, milliseconds pause_limit)
    : state_(std::make_shared<State>(context, reaper, clock, std::move(log), std::move(marker),
                                     std::move(events), pause_limit)) {}

RankGroup::~RankGroup() {
  state_->events = {};
  state_->when_done = nullptr;
  state_->timer.cancel();
  state_->pause_timer.cancel();
  if (!state_->finished) state_->kill_everything();
}

Status RankGroup::start(const std::vector<RankSpec>& ranks) {
  return state_->start(ranks);
}
void RankGroup::stop(milliseconds grace, std::function<void()> done, int first_signal) {
  state_->stop(grace, std::move(done), first_signal);
}
void RankGroup::forward(int signal) {
  state_->signal_groups(signal);
}
int RankGroup::living() const {
  return state_->living();
}

bool RankGroup::had(pid_t pid) const {
  return state_->descendants.contains(pid) ||
         std::any_of(state_->ranks.begin(), state_->ranks.end(),
                     [pid](const LiveRank& rank) { return rank.pid == pid; });
}

std::vector<pid_t> RankGroup::pids() const {
  std::vector<pid_t> pids;
  for (const LiveRank& rank : state_->ranks) pids.push_back(rank.alive ? rank.pid : 0);
  return pids;
}

}  // namespace megalaunch
