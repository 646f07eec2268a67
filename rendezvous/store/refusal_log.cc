#include "rendezvous/store/refusal_log.h"

#include <string>
#include <utility>

namespace megalaunch {

void RefusalLog::count(Refusal refusal, const PeerAddress& address) {
  std::string line;
  {
    const std::lock_guard lock(mutex_);
    ++total_;
    ++unreported_[static_cast<size_t>(refusal)];
    const auto now = clock_.steady();
    if (last_line_ && now - *last_line_ < std::chrono::minutes(1)) return;
    last_line_ = now;
    uint64_t sum = 0;
    std::string reasons;
    for (size_t index = 0; index < unreported_.size(); ++index) {
      const uint64_t times = std::exchange(unreported_[index], 0);
      if (times == 0) continue;
      sum += times;
      reasons += fmt::format("{}{} x {}", reasons.empty() ? "" : ", ", times,
                             describe(static_cast<Refusal>(index)));
    }
    line = fmt::format(
        "store: closed {} connection{}: {}; the last came from {}. More are counted and reported "
        "once a minute.",
        sum, sum == 1 ? "" : "s", reasons, address.to_string());
  }
  log_.write(Log::Level::kWarning, line);
}

uint64_t RefusalLog::total() const {
  const std::lock_guard lock(mutex_);
  return total_;
}

}  // namespace megalaunch
