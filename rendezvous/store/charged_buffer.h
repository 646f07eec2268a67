#pragma once

#include <algorithm>
#include <string>
#include <string_view>

#include "rendezvous/store/memory_budget.h"

namespace megalaunch {

/// Bytes of one connection that have to wait, charged to the common budget while they do. Holds no
/// memory when empty. The budget outlives it.
class ChargedBuffer {
 public:
  explicit ChargedBuffer(MemoryBudget& budget) : budget_(&budget) {}
  ~ChargedBuffer() { budget_->release(charged_); }
  ChargedBuffer(const ChargedBuffer&) = delete;
  ChargedBuffer& operator=(const ChargedBuffer&) = delete;

  /// False, and nothing changed, where the budget refuses. `expected` is the size that the buffer
  /// will reach as far as is known; room for it is made step by step, because a peer can claim
  /// anything.
  bool append(std::string_view bytes, size_t expected = 0) {
    const size_t needed = bytes_.size() + bytes.size();
    if (needed > bytes_.capacity()) {
      const size_t room = std::max(needed, std::min(expected, 2 * needed));
      if (!budget_->try_charge(room)) return false;
      bytes_.reserve(room);
      budget_->release(charged_);
      charged_ = room;
    }
    bytes_.append(bytes);
    return true;
  }

  /// Drops `count` bytes from the front.
  void consume(size_t count) {
    start_ += count;
    if (start_ < bytes_.size()) return;
    start_ = 0;
    std::string().swap(bytes_);
    budget_->release(charged_);
    charged_ = 0;
  }
  /// Moves what is left to the front, so that append() finds room.
  void compact() {
    bytes_.erase(0, start_);
    start_ = 0;
  }

  std::string_view view() const { return std::string_view(bytes_).substr(start_); }
  bool empty() const { return start_ == bytes_.size(); }

 private:
  MemoryBudget* budget_;
  std::string bytes_;
  size_t start_ = 0;
  size_t charged_ = 0;
};

}  // namespace megalaunch
