#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace megalaunch {

/// Latencies in buckets of 3 percent, so that recording costs nothing.
class Latencies {
 public:
  void record(std::chrono::nanoseconds took) {
    const auto ns = static_cast<uint64_t>(std::max<int64_t>(1, took.count()));
    const int power = 63 - __builtin_clzll(ns);
    const auto fraction =
        static_cast<size_t>(power >= 5 ? (ns >> (power - 5)) & 31 : (ns << (5 - power)) & 31);
    ++buckets_[static_cast<size_t>(power) * 32 + fraction];
    longest_ = std::max(longest_, ns);
  }
  void merge(const Latencies& other) {
    for (size_t index = 0; index < buckets_.size(); ++index)
      buckets_[index] += other.buckets_[index];
    longest_ = std::max(longest_, other.longest_);
  }
  double microseconds(double quantile) const {
    const uint64_t total = count();
    uint64_t seen = 0;
    for (size_t index = 0; index < buckets_.size(); ++index) {
      seen += buckets_[index];
      if (total > 0 && static_cast<double>(seen) >= quantile * static_cast<double>(total))
        return static_cast<double>((uint64_t{1} << (index / 32)) * (32 + index % 32)) / 32 / 1000;
    }
    return 0;
  }
  uint64_t count() const {
    uint64_t total = 0;
    for (const uint64_t bucket : buckets_) total += bucket;
    return total;
  }
  double longest_microseconds() const { return static_cast<double>(longest_) / 1000; }

 private:
  std::array<uint64_t, 64 * 32> buckets_{};
  uint64_t longest_ = 0;
};

}  // namespace megalaunch
