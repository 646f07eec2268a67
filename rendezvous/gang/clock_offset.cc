#include "rendezvous/gang/clock_offset.h"

#include <algorithm>

namespace megalaunch {

void ClockOffset::add(WallTime sent, WallTime remote, WallTime received) {
  const nanoseconds round_trip = received - sent;
  if (round_trip < nanoseconds(0)) return;  // this node's clock was set back in between
  const Pair pair{remote - (sent + round_trip / 2), round_trip};
  std::erase_if(pairs_, [&](const Pair& old) {
    return 2 * std::chrono::abs(old.offset - pair.offset) > old.round_trip + pair.round_trip;
  });
  if (pairs_.size() == kPairs) pairs_.pop_front();
  pairs_.push_back(pair);
}

std::optional<ClockOffset::Estimate> ClockOffset::estimate() const {
  if (pairs_.empty()) return std::nullopt;
  const auto best = std::ranges::min_element(pairs_, {}, &Pair::round_trip);
  return Estimate{best->offset, best->round_trip / 2};
}

}  // namespace megalaunch
