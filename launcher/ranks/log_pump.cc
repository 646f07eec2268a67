#include "launcher/ranks/log_pump.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <list>
#include <mutex>
#include <set>
#include <thread>
#include <unordered_map>
#include <vector>

#include "env/unique_fd.h"
#include "launcher/ranks/line_collapser.h"
#include "launcher/ranks/log_cursor.h"

namespace megalaunch {
namespace {

constexpr size_t kMaxPendingMessages = 1U << 20;
/// After a wake-up lines may gather for this long: a rank that writes a line at a time wakes us 50
/// times a second at most, and the first line after a pause is shown at once.
constexpr milliseconds kGather{20};
/// Used only where inotify is not to be had (its instances are limited per user).
constexpr milliseconds kPollInterval{200};

struct Followed {
  LogPump::Source source;
  LogCursor cursor;
  int watch = -1;  ///< inotify's number; files that are the same one share it
  bool ended = false;
};

}  // namespace

struct LogPump::State {
  State(int out_fd, int err_fd, Observer watcher)
      : console(out_fd, err_fd), observer(std::move(watcher)) {}

  using Stream = Console::Stream;

  // --- shared, under `mutex`
  std::mutex mutex;
  std::vector<Followed> added;
  std::string messages;
  std::string remote[2];  ///< lines of other nodes, by stream
  bool sources_ended = false;
  bool finishing = false;
  bool status_changed = false;
  std::string status;

  UniqueFd wake{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  UniqueFd notify{::inotify_init1(IN_CLOEXEC | IN_NONBLOCK)};
  Console console;  // the pump thread's, but for width()
  Observer observer;
  std::list<Followed> followed;  // the pump thread's
  uint64_t not_shown = 0;  // the pump thread's: bytes that were not even offered to the console
  std::vector<char> buffer;
  LineCollapser collapser{[this](Stream stream, std::string_view prefix, std::string_view line) {
    show(stream, prefix, line);
  }};
  std::thread thread;

  void wake_up() {
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t count = ::write(wake.get(), &one, sizeof one);
  }

  static void drain(int fd) {
    alignas(inotify_event) char buffer[16 * 1024];
    while (::read(fd, buffer, sizeof buffer) > 0) {
    }
  }

  void run() {
    for (bool last_round = false; !last_round;) {
      Orders orders = take_orders();
      last_round = orders.finishing;
      pump_all();
      if (orders.sources_ended || last_round) collapser.flush();
      for (const Stream stream : {Stream::kOut, Stream::kErr})
        console.write(stream, {}, orders.remote[static_cast<size_t>(stream)]);
      // After the logs: what the launcher says is about lines that are on disk by now.
      if (!orders.messages.empty()) collapser.flush();
      console.write(Stream::kErr, {}, orders.messages);
      console.flush();
      if (!last_round) wait();
    }
  }

  struct Orders {
    std::string messages;
    std::string remote[2];
    bool sources_ended = false;
    bool finishing = false;
  };

  /// Moves what other threads left for us into our own state.
  Orders take_orders() {
    Orders orders;
    const std::lock_guard lock(mutex);
    orders.sources_ended = std::exchange(sources_ended, false);
    orders.finishing = finishing;
    if (orders.sources_ended)
      for (Followed& each : followed) each.ended = true;
    if (orders.sources_ended || !added.empty()) {
      for (Followed& fresh : added) followed.push_back(std::move(fresh));
      added.clear();
      count_collapsed_ranks();
    }
    orders.messages.swap(messages);
    for (size_t i = 0; i < 2; ++i) orders.remote[i].swap(remote[i]);
    if (std::exchange(status_changed, false)) console.set_status(std::exchange(status, {}));
    return orders;
  }

  void count_collapsed_ranks() {
    std::set<int> ranks;
    for (const Followed& each : followed)
      if (each.source.collapsed && !each.ended) ranks.insert(each.source.rank);
    collapser.expect(ranks.size());
  }

  void pump_all() {
    // In turns, so that one rank that prints a gigabyte does not hide the others.
    for (bool more = true; more;) {
      more = false;
      for (auto it = followed.begin(); it != followed.end();) {
        const bool got_some = pump(*it);
        more = more || got_some;
        it = !got_some && it->ended ? forget(it) : std::next(it);
      }
      if (more && console.given_up() && nobody_watches()) return give_up();
    }
  }

  /// Watches are few, per user: those of the generations that are over go back.
  std::list<Followed>::iterator forget(std::list<Followed>::iterator gone) {
    const int watch = gone->watch;
    const auto next = followed.erase(gone);
    const bool shared = std::any_of(followed.begin(), followed.end(),
                                    [watch](const Followed& each) { return each.watch == watch; });
    if (watch >= 0 && !shared) ::inotify_rm_watch(notify.get(), watch);
    return next;
  }

  bool nobody_watches() const {
    return !observer && std::none_of(followed.begin(), followed.end(), [](const Followed& each) {
      return static_cast<bool>(each.source.also);
    });
  }

  /// Nobody takes any more: what is left in the files is only counted.
  void give_up() {
    for (const Followed& each : followed)
      if (each.source.on_console) not_shown += each.cursor.left();
    followed.clear();
  }

  /// What is not shown any more is only counted.
  void show(Stream stream, std::string_view prefix, std::string_view lines) {
    if (console.given_up())
      not_shown += lines.size();
    else
      console.write(stream, prefix, lines);
  }

  /// The next lines of one source. False: there are none.
  bool pump(Followed& each) {
    const Source& source = each.source;
    const std::string_view lines = each.cursor.read(buffer, each.ended);
    if (const uint64_t skipped = each.cursor.take_skipped(); skipped > 0 && source.on_console)
      show(source.stream, source.prefix,
           fmt::format("[... {} bytes left out: the log's cap dropped them before the console took "
                       "them]",
                       skipped));
    if (source.on_console && !source.collapsed) show(source.stream, source.prefix, lines);
    if (!observer && !source.also && !source.collapsed) return !lines.empty();
    const auto now = std::chrono::steady_clock::now();
    for (std::string_view rest = lines; !rest.empty();) {
      const size_t newline = rest.find('\n');
      std::string_view line = rest.substr(0, newline == rest.npos ? newline : newline + 1);
      rest.remove_prefix(line.size());
      if (source.on_console && source.collapsed)
        collapser.add(source.node, source.rank, source.stream, line, now);
      if (source.also) source.also(line);
      if (newline != rest.npos) line.remove_suffix(1);
      if (observer) observer(source, line, now);
    }
    return !lines.empty();
  }

  void wait() {
    pollfd waiting[2] = {{wake.get(), POLLIN, 0}, {notify.get(), POLLIN, 0}};
    const int ready = ::poll(waiting, notify ? 2 : 1, patience());
    if (ready > 0 && (waiting[1].revents & POLLIN) != 0 && waiting[0].revents == 0) {
      // Only log lines: let more of them come, unless there is an order.
      pump_all();
      console.flush();
      ::poll(waiting, 1, static_cast<int>(kGather.count()));
    }
    collapser.tick(std::chrono::steady_clock::now());
    drain(wake.get());
    if (notify) drain(notify.get());
  }

  /// Milliseconds until something is due without anybody's word; -1: nothing is.
  int patience() const {
    const milliseconds longest = notify || followed.empty() ? milliseconds(-1) : kPollInterval;
    const auto due = collapser.deadline();
    if (!due) return static_cast<int>(longest.count());
    const auto left = std::chrono::ceil<milliseconds>(*due - std::chrono::steady_clock::now());
    return static_cast<int>(std::max(left, milliseconds(0)).count());
  }
};

LogPump::LogPump(int out_fd, int err_fd, Observer observer)
    : state_(std::make_unique<State>(out_fd, err_fd, std::move(observer))) {
  state_->thread = std::thread([state = state_.get()] { state->run(); });
}

LogPump::~LogPump() {
  if (state_->thread.joinable()) finish(milliseconds(0));
}

Status LogPump::follow(Source source) {
  if (!source.log) {
    auto log = RankLog::open(source.path);
    if (!log) return fail(std::move(log).error());
    source.log = std::move(*log);
  }
  // A file that cannot be watched (the limit of watches) is still read at each wake-up and at its
  // end.
  const int watch = state_->notify
                        ? ::inotify_add_watch(state_->notify.get(), source.path.c_str(), IN_MODIFY)
                        : -1;
  {
    const std::lock_guard lock(state_->mutex);
    LogCursor cursor(source.log);
    state_->added.push_back({std::move(source), std::move(cursor), watch, false});
  }
  state_->wake_up();
  return {};
}

void LogPump::end_of_sources() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->sources_ended = true;
    for (Followed& fresh : state_->added) fresh.ended = true;
  }
  state_->wake_up();
}

void LogPump::message(std::string_view line) {
  {
    const std::lock_guard lock(state_->mutex);
    if (state_->messages.size() > kMaxPendingMessages) return;
    state_->messages.append(line).append(1, '\n');
  }
  state_->wake_up();
}

bool LogPump::show(Console::Stream stream, std::string_view prefix, std::string_view line) {
  {
    const std::lock_guard lock(state_->mutex);
    std::string& pending = state_->remote[static_cast<size_t>(stream)];
    if (pending.size() > kMaxPendingMessages) return false;
    pending.append(prefix).append(line).append(1, '\n');
  }
  state_->wake_up();
  return true;
}

void LogPump::set_status(std::string line) {
  {
    const std::lock_guard lock(state_->mutex);
    state_->status = std::move(line);
    state_->status_changed = true;
  }
  state_->wake_up();
}

int LogPump::terminal_width() const {
  return state_->console.width();
}

uint64_t LogPump::finish(milliseconds patience) {
  state_->console.set_deadline(std::chrono::steady_clock::now() + patience);
  end_of_sources();
  {
    const std::lock_guard lock(state_->mutex);
    state_->finishing = true;
    state_->status.clear();
    state_->status_changed = true;
  }
  state_->wake_up();
  state_->thread.join();
  return state_->console.dropped_bytes() + state_->not_shown;
}

}  // namespace megalaunch
