#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "rendezvous/store/blob.h"
#include "rendezvous/store/memory_budget.h"
#include "rendezvous/store/refusal.h"
#include "rendezvous/store/request.h"
#include "rendezvous/store/store_limits.h"
#include "rendezvous/store/waiting.h"

namespace megalaunch {

/// The keys, values and queues of one generation, and who waits for them. Thread-safe, and every
/// call is atomic for all the keys that it names. Calls that
/// fail with a Refusal changed nothing, but for multi_set, which may have stored some of its pairs.
/// Keys are as on the wire; nothing is added or taken away. Waiters of a key are told by `wakeups`
/// when it gets a value: in the order in which they came.
class KeySpace {
 public:
  /// Keys lie in many small tables: to list one or to let it grow takes a millisecond with a
  /// million keys in the space.
  static constexpr int kTables = 1024;

  /// Both outlive the key space and every Blob it gave out.
  KeySpace(const StoreLimits& limits, MemoryBudget& budget);
  ~KeySpace();
  KeySpace(const KeySpace&) = delete;
  KeySpace& operator=(const KeySpace&) = delete;

  Outcome<void> set(std::string_view key, std::string_view value, Wakeups& wakeups);
  /// Stores `desired` where the value is `expected`; a missing key counts as one with an empty
  /// value.
  struct Compared {
    bool stored = false;
    Blob current;  ///< where not stored: what is there, or no value
  };
  Outcome<Compared> compare_set(std::string_view key, std::string_view expected,
                                std::string_view desired, Wakeups& wakeups);
  /// No value when the key is missing.
  Blob get(std::string_view key) const;
  Outcome<int64_t> add(std::string_view key, int64_t delta, Wakeups& wakeups);
  Outcome<void> append(std::string_view key, std::string_view tail, Wakeups& wakeups);
  /// Whether there was a value. Wakes nobody.
  bool erase(std::string_view key, Wakeups& wakeups);
  int64_t size() const { return keys_.load(std::memory_order_relaxed); }

  /// Whether every key has a value or a queue that is not empty.
  bool check(const FieldList& keys) const;
  std::vector<Blob> multi_get(const FieldList& keys) const;
  Outcome<void> multi_set(const FieldList& pairs, Wakeups& wakeups);
  /// Appends the counted keys of one table to `to`, and returns how many. All tables together are
  /// all keys; a caller lets others have their turn in between.
  int64_t list_keys(int table, std::string& to) const;
  /// A copy of `bytes`, charged to the budget like a value; no value where it refuses.
  Blob keep(std::string_view bytes) const { return Blob::copy_of(bytes, *budget_); }

  Outcome<void> queue_push(std::string_view key, std::string_view value, Wakeups& wakeups);
  struct Popped {
    int64_t size_before;
    Blob value;
  };
  Popped queue_pop(std::string_view key);
  int64_t queue_length(std::string_view key) const;

  /// True: all keys are there. False: `wait` is registered, and `ticket` is woken once when the
  /// last one came.
  Outcome<bool> wait(const FieldList& keys, Wait& wait, const Ticket& ticket);
  /// True: this caller completed the barrier, and the others are woken. False: `wait` is
  /// registered.
  Outcome<bool> barrier(std::string_view key, int64_t world_size, Wait& wait, const Ticket& ticket,
                        Wakeups& wakeups);
  /// Ends a registered wait. Its wake-up may be on the way already: the ticket tells.
  void cancel(Wait& wait);
  /// After the wake-up: `wait` may be used again.
  void finish(Wait& wait);

  /// `ticket` is pushed every change of `key` from now on, until unwatch.
  Outcome<void> watch(std::string_view key, const Ticket& ticket);
  void unwatch(std::string_view key, const Ticket& ticket);

 private:
  static constexpr int kShards = 64;  // one lock each, and one bit in Wait::shards_
  static constexpr int kTablesOfShard = kTables / kShards;

  /// What a key has beyond a value. Most never need it.
  struct Interest {
    Wait::Row waiting;
    std::unique_ptr<std::deque<Blob>> queue;  // null where empty
    std::vector<Ticket> watchers;
  };
  struct Entry {
    Blob value;
    std::unique_ptr<Interest> interest;

    size_t queue_length() const {
      return interest && interest->queue ? interest->queue->size() : 0;
    }
    bool ready() const { return value || queue_length() > 0; }
  };
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view key) const { return std::hash<std::string_view>{}(key); }
  };
  using Map = std::unordered_map<std::string, Entry, Hash, std::equal_to<>>;

  /// Held for tens of nanoseconds: worth a short spin before the thread sleeps.
  class Mutex {
   public:
    void lock();
    void unlock() { mutex_.unlock(); }

   private:
    std::mutex mutex_;
  };
  using Slot = Map::value_type;
  struct alignas(64) Shard {
    mutable Mutex mutex;
    std::array<Map, kTablesOfShard> tables;

    Map& table_of(std::string_view key);
    const Slot* find(std::string_view key) const;
    Slot* find(std::string_view key);
  };
  class ShardLocks;

  static int table_index(std::string_view key);
  static int shard_index(std::string_view key) { return table_index(key) / kTablesOfShard; }
  static uint64_t shards_of(const FieldList& list, size_t stride);
  Shard& shard_of(std::string_view key) { return shards_[shard_index(key)]; }
  const Shard& shard_of(std::string_view key) const { return shards_[shard_index(key)]; }

  // All of these are called with the shard's lock held.
  Slot* find_or_add(Shard& shard, std::string_view key);
  void drop_if_empty(Shard& shard, const std::string& key);
  void put(Slot& slot, Blob& value);
  Outcome<void> store(Shard& shard, std::string_view key, Blob& value, Wakeups& wakeups);
  Outcome<int64_t> count_up(Slot& slot, int64_t delta);
  static Interest& interest_of(Entry& entry);
  static void wake_first(Interest& interest, Wakeups& wakeups);
  static void wake_all(Entry& entry, Wakeups& wakeups);
  static void tell_watchers(const Slot& slot, KeyChange change, std::string_view before,
                            std::string_view now, Wakeups& wakeups);
  static void enter(Slot& slot, Wait& wait);
  void leave_all(Wait& wait);

  Outcome<void> prepare(Wait& wait, size_t keys, const Ticket& ticket, uint64_t shards);

  const StoreLimits* limits_;
  MemoryBudget* budget_;
  std::atomic<int64_t> keys_{0};
  std::array<Shard, kShards> shards_;
};

}  // namespace megalaunch
