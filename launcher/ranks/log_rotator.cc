#include "launcher/ranks/log_rotator.h"

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <mutex>
#include <set>
#include <thread>

namespace megalaunch {
namespace {

/// No rank writes faster than this for long.
constexpr uint64_t kFastestBytesPerMs = 1 << 20;
constexpr milliseconds kShortestLook{50};
constexpr milliseconds kLongestLook{10'000};
/// After a failure that may pass.
constexpr seconds kTryAgain{30};

struct Kept {
  std::shared_ptr<RankLog> log;
  SteadyTime not_before{};
  bool warned = false;
  bool hopeless = false;
};

}  // namespace

struct LogRotator::State {
  explicit State(std::function<void(const std::string&)> warn_function)
      : warn(std::move(warn_function)) {}

  void run() {
    std::vector<Kept> kept;
    std::unique_lock lock(mutex);
    for (uint64_t seen = 0; !over;) {
      if (seen != version) {
        seen = version;
        std::erase_if(kept, [this](const Kept& each) { return !logs.contains(each.log); });
        for (const auto& log : fresh) kept.push_back({log});
        fresh.clear();
      }
      lock.unlock();
      const milliseconds pause = look(kept);
      lock.lock();
      const auto news = [&] { return over || seen != version; };
      if (kept.empty())
        changed.wait(lock, news);
      else
        changed.wait_for(lock, pause, news);
    }
  }

  /// Rotates each file that needs it, once; says when to look again.
  milliseconds look(std::vector<Kept>& kept) const {
    milliseconds pause = kLongestLook;
    for (Kept& each : kept)
      if (!each.hopeless) pause = std::min(pause, look(each));
    return pause;
  }

  milliseconds look(Kept& each) const {
    const auto now = std::chrono::steady_clock::now();
    if (now < each.not_before) return std::chrono::ceil<milliseconds>(each.not_before - now);
    const uint64_t begin = each.log->begin(), held = each.log->end() - begin;
    const uint64_t cap = each.log->max_size();
    if (!each.log->is_over_its_cap()) return next_look(held < cap ? cap - held : 0);
    if (auto rotated = each.log->rotate(); !rotated) {
      note_failure(each, rotated.error(), now);
      return kLongestLook;
    }
    // What was moved is one part; there may be more, after the other files have had their turn.
    return each.log->begin() > begin ? milliseconds(0) : next_look(0);
  }

  void note_failure(Kept& each, const Error& error, SteadyTime now) const {
    if (error.code == ECANCELED) return;
    each.hopeless = error.code == EOPNOTSUPP;
    each.not_before = now + kTryAgain;
    if (std::exchange(each.warned, true)) return;
    warn(fmt::format("the log file {} grows beyond `logs: {{max_size}}`: {}; {}",
                     each.log->path().string(), error.message,
                     each.hopeless
                         ? "its file system does not allow it, so the cap is not kept there"
                         : "nothing is lost, and it is tried again every 30 s"));
  }

  const std::function<void(const std::string&)> warn;
  std::mutex mutex;
  std::condition_variable changed;
  std::set<std::shared_ptr<RankLog>> logs;      ///< all there are now
  std::vector<std::shared_ptr<RankLog>> fresh;  ///< of these, those that the thread does not know
  uint64_t version = 0;                         ///< counts changes of the two
  bool over = false;
  std::thread thread;
};

milliseconds LogRotator::next_look(uint64_t room) {
  const auto ms = static_cast<milliseconds::rep>(room / kFastestBytesPerMs);
  return std::clamp(milliseconds(ms), kShortestLook, kLongestLook);
}

LogRotator::LogRotator(std::function<void(const std::string&)> warn)
    : state_(std::make_unique<State>(std::move(warn))) {
  state_->thread = std::thread([state = state_.get()] { state->run(); });
}

LogRotator::~LogRotator() {
  clear();
  {
    const std::lock_guard lock(state_->mutex);
    state_->over = true;
  }
  state_->changed.notify_one();
  state_->thread.join();
}

void LogRotator::add(std::shared_ptr<RankLog> log) {
  {
    const std::lock_guard lock(state_->mutex);
    state_->fresh.push_back(log);
    state_->logs.insert(std::move(log));
    ++state_->version;
  }
  state_->changed.notify_one();
}

DroppedLog LogRotator::clear() {
  DroppedLog all;
  {
    const std::lock_guard lock(state_->mutex);
    for (const auto& log : state_->logs) {
      const DroppedLog dropped = log->freeze();
      all.bytes += dropped.bytes;
      all.lines += dropped.lines;
    }
    state_->logs.clear();
    state_->fresh.clear();
    ++state_->version;
  }
  state_->changed.notify_one();
  return all;
}

}  // namespace megalaunch
