#pragma once

#include <chrono>

namespace megalaunch {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;
using SteadyTime = std::chrono::steady_clock::time_point;
using WallTime = std::chrono::system_clock::time_point;

/// The time, behind an interface because tests drive it by hand (tests/lib/manual_clock.h).
/// Deadlines use steady(); what people read and what crosses nodes uses wall().
class Clock {
 public:
  virtual ~Clock() = default;
  virtual SteadyTime steady() const = 0;
  virtual WallTime wall() const = 0;
};

/// The machine's own clocks. Thread-safe.
class SystemClock final : public Clock {
 public:
  SteadyTime steady() const override { return std::chrono::steady_clock::now(); }
  WallTime wall() const override { return std::chrono::system_clock::now(); }
};

}  // namespace megalaunch
