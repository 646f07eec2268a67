#include "launcher/gang/find_place.h"

#include <algorithm>
#include <chrono>
#include <future>
#include <memory>
#include <thread>

#include "env/host.h"

namespace megalaunch {
namespace {

constexpr milliseconds kFirstRetry{50};
constexpr milliseconds kLongestRetry{1000};
/// Between two looks for a signal while the resolver is being waited for.
constexpr milliseconds kGlance{50};
constexpr seconds kTellEvery{10};

std::optional<int> signal_within(const sigset_t& signals, milliseconds pause) {
  const auto whole = std::chrono::duration_cast<seconds>(pause);
  const timespec wait{whole.count(), nanoseconds(pause - whole).count()};
  const int signal = ::sigtimedwait(&signals, nullptr, &wait);
  return signal > 0 ? std::optional(signal) : std::nullopt;
}

}  // namespace

Result<Place> find_place(const std::string& host, milliseconds patience, const sigset_t& signals,
                         const Log& log,
                         std::function<std::optional<bool>(const std::string&)> ask) {
  if (!ask) ask = is_this_machine;
  const auto start = std::chrono::steady_clock::now();
  auto last_told = start;
  milliseconds pause = kFirstRetry;
  std::future<std::optional<bool>> answer;
  for (;;) {
    if (!answer.valid()) {
      std::promise<std::optional<bool>> promise;
      answer = promise.get_future();
      std::thread([ask, host, promise = std::move(promise)]() mutable {
        promise.set_value(ask(host));
      }).detach();
    }
    if (answer.wait_for(kGlance) == std::future_status::ready) {
      if (const auto here = answer.get()) return Place{*here, std::nullopt};
      if (const auto signal = signal_within(signals, pause)) return Place{false, signal};
      pause = std::min(pause * 3 / 2, kLongestRetry);
    } else if (const auto signal = signal_within(signals, milliseconds(0))) {
      return Place{false, signal};
    }
    const auto now = std::chrono::steady_clock::now();
    if (now - start >= patience)
      return fail(Error::Kind::kTimeout,
                  "the name '{}' of node 0's endpoint did not resolve within {} s", host,
                  std::chrono::duration_cast<seconds>(patience).count());
    if (now - last_told < kTellEvery) continue;
    last_told = now;
    log.info("waiting for the name '{}' of node 0's endpoint to resolve; {} s left", host,
             std::chrono::duration_cast<seconds>(patience - (now - start)).count());
  }
}

}  // namespace megalaunch
