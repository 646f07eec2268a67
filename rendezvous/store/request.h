#pragma once

#include <cstddef>
#include <iterator>
#include <string_view>

#include "rendezvous/store/wire_format.h"

namespace megalaunch {

/// `count` counted fields one after the other, still in their wire form; already checked by
/// FrameDecoder. A view: nothing is copied until somebody keeps a field.
class FieldList {
 public:
  class Iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = std::string_view;
    using difference_type = std::ptrdiff_t;
    using pointer = void;
    using reference = std::string_view;

    explicit Iterator(const char* at) : at_(at) {}
    std::string_view operator*() const {
      return {at_ + sizeof(uint64_t), load_little<uint64_t>(at_)};
    }
    Iterator& operator++() {
      at_ += sizeof(uint64_t) + load_little<uint64_t>(at_);
      return *this;
    }
    Iterator operator++(int) {
      Iterator before = *this;
      ++*this;
      return before;
    }
    bool operator==(const Iterator& other) const = default;

   private:
    const char* at_;
  };

  FieldList() = default;
  FieldList(std::string_view wire, size_t count) : wire_(wire), count_(count) {}

  size_t size() const { return count_; }  ///< fields; a pair of MULTI_SET is two
  Iterator begin() const { return Iterator(wire_.data()); }
  Iterator end() const { return Iterator(wire_.data() + wire_.size()); }

 private:
  std::string_view wire_;
  size_t count_ = 0;
};

/// One decoded request. Views into the bytes that it was decoded from. Only the fields of its
/// operation are set.
struct Request {
  Operation operation = Operation::kKeyCount;
  std::string_view key;
  std::string_view value;    ///< SET, APPEND, QUEUE_PUSH; the expected value of COMPARE_SET
  std::string_view desired;  ///< COMPARE_SET
  int64_t number = 0;        ///< delta of ADD, world size of BARRIER
  uint32_t word = 0;         ///< magic of VALIDATE, nonce of PING
  FieldList list;  ///< keys of CHECK, WAIT, MULTI_GET; keys and values in turn of MULTI_SET
};

}  // namespace megalaunch
