#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>
#include <new>
#include <string_view>
#include <utility>

#include "rendezvous/store/memory_budget.h"

namespace megalaunch {

/// A value of the store: bytes shared by the map and by whoever is sending them, in one allocation,
/// charged to a budget for as long as anybody holds them. Copies are cheap; the bytes never change
/// while a second holder exists. A default-made Blob is "no value", which is not the same as an
/// empty one. The budget outlives every blob.
class Blob {
 public:
  Blob() = default;
  /// A copy of `bytes`; no value where the budget refuses.
  static Blob copy_of(std::string_view bytes, MemoryBudget& budget) {
    return make(bytes, bytes.size(), budget);
  }

  Blob(const Blob& other) : header_(other.header_) {
    if (header_ != nullptr) header_->holders.fetch_add(1, std::memory_order_relaxed);
  }
  Blob(Blob&& other) noexcept : header_(std::exchange(other.header_, nullptr)) {}
  Blob& operator=(Blob other) noexcept {
    std::swap(header_, other.header_);
    return *this;
  }
  ~Blob() {
    if (header_ != nullptr && header_->holders.fetch_sub(1, std::memory_order_acq_rel) == 1)
      free(header_);
  }

  explicit operator bool() const { return header_ != nullptr; }
  /// Empty for no value.
  std::string_view view() const {
    return header_ == nullptr ? std::string_view{}
                              : std::string_view(bytes_of(header_), header_->size);
  }

  /// This value with `tail` behind it: in place where nobody else holds it and there is room, else
  /// as a copy with room to grow. False, and nothing changed, where the budget refuses. There must
  /// be a value.
  bool append(std::string_view tail, MemoryBudget& budget) {
    const size_t size = header_->size + tail.size();
    if (size > header_->capacity || header_->holders.load(std::memory_order_acquire) != 1) {
      Blob grown = make(view(), size + size / 2, budget);
      if (!grown) grown = make(view(), size, budget);
      if (!grown) return false;
      std::swap(header_, grown.header_);
    }
    if (!tail.empty()) std::memcpy(bytes_of(header_) + header_->size, tail.data(), tail.size());
    header_->size = size;
    return true;
  }

 private:
  struct Header {
    MemoryBudget* budget;
    size_t size;
    size_t capacity;
    std::atomic<uint32_t> holders{1};
  };

  static char* bytes_of(Header* header) { return reinterpret_cast<char*>(header + 1); }
  static Blob make(std::string_view bytes, size_t capacity, MemoryBudget& budget) {
    if (!budget.try_charge(sizeof(Header) + capacity)) return {};
    Blob blob;
    blob.header_ = new (::operator new(sizeof(Header) + capacity))
        Header{&budget, bytes.size(), capacity, {1}};
    if (!bytes.empty()) std::memcpy(bytes_of(blob.header_), bytes.data(), bytes.size());
    return blob;
  }
  static void free(Header* header) {
    header->budget->release(sizeof(Header) + header->capacity);
    header->~Header();
    ::operator delete(header);
  }

  Header* header_ = nullptr;
};

}  // namespace megalaunch
