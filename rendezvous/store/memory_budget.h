#pragma once

#include <atomic>
#include <cstddef>

namespace megalaunch {

/// How much memory all peers together may make the store hold, and how much they do. Thread-safe.
class MemoryBudget {
 public:
  explicit MemoryBudget(size_t limit) : limit_(limit) {}
  MemoryBudget(const MemoryBudget&) = delete;
  MemoryBudget& operator=(const MemoryBudget&) = delete;

  /// Charges before the memory is taken; false, and nothing charged, where it would go beyond the
  /// limit.
  bool try_charge(size_t bytes) {
    const size_t before = used_.fetch_add(bytes, std::memory_order_relaxed);
    if (bytes <= limit_ && before <= limit_ - bytes) return true;
    release(bytes);
    return false;
  }
  void release(size_t bytes) { used_.fetch_sub(bytes, std::memory_order_relaxed); }

  size_t used() const { return used_.load(std::memory_order_relaxed); }
  size_t limit() const { return limit_; }

 private:
  const size_t limit_;
  std::atomic<size_t> used_{0};
};

}  // namespace megalaunch
