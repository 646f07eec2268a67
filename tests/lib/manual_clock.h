#pragma once

#include "env/clock.h"

namespace megalaunch {

/// Time that moves only when a test says so. Both clocks move together.
class ManualClock final : public Clock {
 public:
  SteadyTime steady() const override { return steady_; }
  WallTime wall() const override { return wall_; }
  void advance(nanoseconds by) {
    steady_ += by;
    wall_ += std::chrono::duration_cast<WallTime::duration>(by);
  }

 private:
  SteadyTime steady_{std::chrono::hours(1)};
  WallTime wall_{std::chrono::seconds(1'730'996'841)};  // 2024-11-07T16:27:21Z
};

}  // namespace megalaunch
