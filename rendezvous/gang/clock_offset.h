#pragma once

#include <cstddef>
#include <deque>
#include <optional>

#include "env/clock.h"

namespace megalaunch {

/// How far node 0's clock is ahead of this node's, from pairs of ping and pong. Pure.
class ClockOffset {
 public:
  struct Estimate {
    nanoseconds offset{0};  ///< add it to a time of this node to get node 0's
    nanoseconds error{0};   ///< at most this wrong, if the paths take equally long
  };

  /// `sent` and `received` by this node's clock, `remote` by node 0's. Forgets what contradicts it:
  /// a clock has been set since.
  void add(WallTime sent, WallTime remote, WallTime received);
  /// From the pair with the shortest round trip of the last kPairs; nothing before the first pair.
  std::optional<Estimate> estimate() const;

 private:
  static constexpr size_t kPairs = 64;
  struct Pair {
    nanoseconds offset{0};
    nanoseconds round_trip{0};  ///< twice the error
  };
  std::deque<Pair> pairs_;  ///< the oldest first
};

}  // namespace megalaunch
