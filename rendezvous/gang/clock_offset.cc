#include "rendezvous/gang/clock_offset.h"

#include <algorithm>

namespace megalaunch {

void ClockOffset::add(WallTime sent, WallTime remote, WallTime received) {
  const nanoseconds round_trip = received - sent;
  if (round_trip < nanoseconds(0)) return;  // this node's clock was set back in between
  pairs_[count_ % kPairs] = {remote - (sent + (received - sent) / 2), round_trip};
  ++count_;
}

std::optional<ClockOffset::Estimate> ClockOffset::estimate() const {
  if (count_ == 0) return std::nullopt;
  const auto end = pairs_.begin() + static_cast<std::ptrdiff_t>(std::min(count_, kPairs));
  const auto best = std::min_element(pairs_.begin(), end, [](const Pair& a, const Pair& b) {
    return a.round_trip < b.round_trip;
  });
  return Estimate{best->offset, best->round_trip / 2};
}

}  // namespace megalaunch
