#include "rendezvous/store/key_space.h"

#include <bit>
#include <charconv>
#include <limits>
#include <optional>
#include <utility>

namespace megalaunch {
namespace {

// What an entry costs beyond its key and value: nodes of the map, the row of waiters, allocator
// overhead.
constexpr size_t kEntryBytes = 192;

/// Reads a counter the way C's strtoll does, base 10: leading white space and trailing garbage do
/// not matter.
std::optional<int64_t> parse_counter(std::string_view text) {
  const size_t start = text.find_first_not_of(" \t\n\v\f\r");
  if (start == std::string_view::npos) return std::nullopt;
  text.remove_prefix(start);
  if (text.starts_with('+')) {
    text.remove_prefix(1);
    if (text.starts_with('-')) return std::nullopt;
  }
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{}) return std::nullopt;
  return value;
}

int64_t add_wrapping(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
}

/// A counter's text, without an allocation.
class CounterText {
 public:
  explicit CounterText(int64_t value)
      : end_(std::to_chars(text_, text_ + sizeof(text_), value).ptr) {}
  std::string_view view() const { return {text_, static_cast<size_t>(end_ - text_)}; }

 private:
  char text_[20];
  char* end_;
};

}  // namespace

void KeySpace::Mutex::lock() {
  for (int spin = 0; spin < 100; ++spin) {
    if (mutex_.try_lock()) return;
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }
  mutex_.lock();
}

/// Holds the locks of a set of shards, taken in ascending order.
class KeySpace::ShardLocks {
 public:
  ShardLocks(const KeySpace& space, uint64_t shards) : space_(space), shards_(shards) {
    for (uint64_t left = shards_; left != 0; left &= left - 1)
      space_.shards_[std::countr_zero(left)].mutex.lock();
  }
  ~ShardLocks() {
    for (uint64_t left = shards_; left != 0; left &= left - 1)
      space_.shards_[std::countr_zero(left)].mutex.unlock();
  }
  ShardLocks(const ShardLocks&) = delete;
  ShardLocks& operator=(const ShardLocks&) = delete;

 private:
  const KeySpace& space_;
  const uint64_t shards_;
};

KeySpace::KeySpace(const StoreLimits& limits, MemoryBudget& budget)
    : limits_(&limits), budget_(&budget) {}

KeySpace::~KeySpace() {
  for (Shard& shard : shards_)
    for (const Map& table : shard.tables)
      for (const auto& [key, entry] : table) budget_->release(kEntryBytes + key.size());
}

// The tables take the hash modulo a prime; the top bits are as good as independent of that.
int KeySpace::table_index(std::string_view key) {
  constexpr int kBits = std::countr_zero(static_cast<unsigned>(kTables));
  return static_cast<int>(Hash{}(key) >> (std::numeric_limits<size_t>::digits - kBits));
}

KeySpace::Map& KeySpace::Shard::table_of(std::string_view key) {
  return tables[static_cast<size_t>(table_index(key) % kTablesOfShard)];
}

const KeySpace::Slot* KeySpace::Shard::find(std::string_view key) const {
  const Map& table = tables[static_cast<size_t>(table_index(key) % kTablesOfShard)];
  const auto found = table.find(key);
  return found == table.end() ? nullptr : &*found;
}

KeySpace::Slot* KeySpace::Shard::find(std::string_view key) {
  return const_cast<Slot*>(std::as_const(*this).find(key));
}

// The shards of every `stride`-th field.
uint64_t KeySpace::shards_of(const FieldList& list, size_t stride) {
  uint64_t shards = 0;
  size_t index = 0;
  for (const auto field : list)
    if (index++ % stride == 0) shards |= uint64_t{1} << shard_index(field);
  return shards;
}

KeySpace::Slot* KeySpace::find_or_add(Shard& shard, std::string_view key) {
  if (Slot* found = shard.find(key)) return found;
  if (!budget_->try_charge(kEntryBytes + key.size())) return nullptr;
  return &*shard.table_of(key).emplace(std::string(key), Entry{}).first;
}

void KeySpace::drop_if_empty(Shard& shard, const std::string& key) {
  Map& table = shard.table_of(key);
  const auto at = table.find(key);
  if (at == table.end() || at->second.ready()) return;
  const auto& interest = at->second.interest;
  if (interest && (!interest->waiting.empty() || !interest->watchers.empty())) return;
  budget_->release(kEntryBytes + key.size());
  table.erase(at);
}

/// The new value in, the old one out to where it can be freed without the lock.
void KeySpace::put(Slot& slot, Blob& value) {
  if (!slot.second.value) keys_.fetch_add(1, std::memory_order_relaxed);
  std::swap(slot.second.value, value);
}

void KeySpace::wake_all(Entry& entry, Wakeups& wakeups) {
  if (!entry.interest) return;
  while (!entry.interest->waiting.empty()) wake_first(*entry.interest, wakeups);
}

void KeySpace::wake_first(Interest& interest, Wakeups& wakeups) {
  Wait& wait = *interest.waiting.front().wait;
  const Ticket ticket = wait.ticket_;
  interest.waiting.pop_front();
  // Once nothing is missing the owner may reuse the wait: not touched after this line.
  if (wait.missing_.fetch_sub(1, std::memory_order_acq_rel) == 1) wakeups.wake(ticket);
}

KeySpace::Interest& KeySpace::interest_of(Entry& entry) {
  if (!entry.interest) entry.interest = std::make_unique<Interest>();
  return *entry.interest;
}

void KeySpace::tell_watchers(const Slot& slot, KeyChange change, std::string_view before,
                             std::string_view now, Wakeups& wakeups) {
  if (!slot.second.interest) return;
  for (const Ticket& ticket : slot.second.interest->watchers) {
    std::string bytes(1, static_cast<char>(change));
    append_counted(bytes, slot.first);
    append_counted(bytes, before);
    append_counted(bytes, now);
    wakeups.push(ticket, std::move(bytes));
  }
}

Outcome<void> KeySpace::store(Shard& shard, std::string_view key, Blob& value, Wakeups& wakeups) {
  Slot* slot = find_or_add(shard, key);
  if (slot == nullptr) return refuse(Refusal::kOutOfMemory);
  const auto change = slot->second.value ? KeyChange::kUpdated : KeyChange::kCreated;
  put(*slot, value);
  wake_all(slot->second, wakeups);
  tell_watchers(*slot, change, value.view(), slot->second.value.view(), wakeups);
  return {};
}

Outcome<void> KeySpace::set(std::string_view key, std::string_view value, Wakeups& wakeups) {
  Blob blob = Blob::copy_of(value, *budget_);
  if (!blob) return refuse(Refusal::kOutOfMemory);
  Shard& shard = shard_of(key);
  const std::lock_guard lock(shard.mutex);
  return store(shard, key, blob, wakeups);
}

Outcome<KeySpace::Compared> KeySpace::compare_set(std::string_view key, std::string_view expected,
                                                  std::string_view desired, Wakeups& wakeups) {
  Blob blob = Blob::copy_of(desired, *budget_);
  if (!blob) return refuse(Refusal::kOutOfMemory);
  Shard& shard = shard_of(key);
  const std::lock_guard lock(shard.mutex);
  const auto found = shard.find(key);
  const bool missing = found == nullptr || !found->second.value;
  if (missing ? !expected.empty() : found->second.value.view() != expected)
    return Compared{false, missing ? Blob{} : found->second.value};
  if (const auto stored = store(shard, key, blob, wakeups); !stored) return refuse(stored.error());
  return Compared{true, {}};
}

Blob KeySpace::get(std::string_view key) const {
  const Shard& shard = shard_of(key);
  const std::lock_guard lock(shard.mutex);
  const auto found = shard.find(key);
  return found == nullptr ? Blob{} : found->second.value;
}

Outcome<int64_t> KeySpace::count_up(Slot& slot, int64_t delta) {
  int64_t before = 0;
  if (slot.second.value) {
    const auto parsed = parse_counter(slot.second.value.view());
    if (!parsed) return refuse(Refusal::kNotANumber);
    before = *parsed;
  }
  const int64_t now = add_wrapping(before, delta);
  Blob blob = Blob::copy_of(CounterText(now).view(), *budget_);
  if (!blob) return refuse(Refusal::kOutOfMemory);
  put(slot, blob);
  return now;
}

Outcome<int64_t> KeySpace::add(std::string_view key, int64_t delta, Wakeups& wakeups) {
  Shard& shard = shard_of(key);
  const std::lock_guard lock(shard.mutex);
  Slot* slot = find_or_add(shard, key);
  if (slot == nullptr) return refuse(Refusal::kOutOfMemory);
  const Blob before = slot->second.interest ? slot->second.value : Blob{};
  const auto now = count_up(*slot, delta);
  if (!now) {
    drop_if_empty(shard, slot->first);
    return now;
  }
  wake_all(slot->second, wakeups);
  tell_watchers(*slot, KeyChange::kUpdated, before.view(), slot->second.value.view(), wakeups);
  return now;
}

Outcome<void> KeySpace::append(std::string_view key, std::string_view tail, Wakeups& wakeups) {
  Shard& shard = shard_of(key);
  const std::lock_guard lock(shard.mutex);
  const auto found = shard.find(key);
  if (found == nullptr || !found->second.value) {
    Blob blob = Blob::copy_of(tail, *budget_);
    if (!blob) return refuse(Refusal::kOutOfMemory);
    return store(shard, key, blob, wakeups);
  }
  Entry& entry = found->second;
  if (entry.value.view().size() + tail.size() > limits_->value_bytes)
    return refuse(Refusal::kValueTooLong);
  const Blob before = entry.interest && !entry.interest->watchers.empty() ? entry.value : Blob{};
  if (!entry.value.append(tail, *budget_)) return refuse(Refusal::kOutOfMemory);
  wake_all(entry, wakeups);
  tell_watchers(*found, KeyChange::kUpdated, before.view(), entry.value.view(), wakeups);
  return {};
}

bool KeySpace::erase(std::string_view key, Wakeups& wakeups) {
  Blob before;
  Shard& shard = shard_of(key);
  const std::lock_guard lock(shard.mutex);
  const auto found = shard.find(key);
  if (found == nullptr || !found->second.value) return false;
  std::swap(before, found->second.value);
  keys_.fetch_sub(1, std::memory_order_relaxed);
  tell_watchers(*found, KeyChange::kDeleted, before.view(), {}, wakeups);
  drop_if_empty(shard, found->first);
  return true;
}

bool KeySpace::check(const FieldList& keys) const {
  const ShardLocks locks(*this, shards_of(keys, 1));
  for (const auto key : keys) {
    const Shard& shard = shard_of(key);
    const auto found = shard.find(key);
    if (found == nullptr || !found->second.ready()) return false;
  }
  return true;
}

std::vector<Blob> KeySpace::multi_get(const FieldList& keys) const {
  std::vector<Blob> values;
  values.reserve(keys.size());
  const ShardLocks locks(*this, shards_of(keys, 1));
  for (const auto key : keys) {
    const Shard& shard = shard_of(key);
    const auto found = shard.find(key);
    values.push_back(found == nullptr ? Blob{} : found->second.value);
  }
  return values;
}

Outcome<void> KeySpace::multi_set(const FieldList& pairs, Wakeups& wakeups) {
  std::vector<Blob> values;
  values.reserve(pairs.size() / 2);
  for (auto at = pairs.begin(); at != pairs.end(); ++at) {
    ++at;
    values.push_back(Blob::copy_of(*at, *budget_));
    if (!values.back()) return refuse(Refusal::kOutOfMemory);
  }
  const ShardLocks locks(*this, shards_of(pairs, 2));
  auto value = values.begin();
  for (auto at = pairs.begin(); at != pairs.end(); ++at, ++value) {
    const auto key = *at;
    if (const auto stored = store(shard_of(key), key, *value, wakeups); !stored) return stored;
    ++at;
  }
  return {};
}

int64_t KeySpace::list_keys(int table, std::string& to) const {
  int64_t count = 0;
  const Shard& shard = shards_[static_cast<size_t>(table / kTablesOfShard)];
  const std::lock_guard lock(shard.mutex);
  for (const auto& [key, entry] : shard.tables[static_cast<size_t>(table % kTablesOfShard)]) {
    if (!entry.value) continue;
    append_counted(to, key);
    ++count;
  }
  return count;
}

Outcome<void> KeySpace::queue_push(std::string_view key, std::string_view value, Wakeups& wakeups) {
  Blob blob = Blob::copy_of(value, *budget_);
  if (!blob) return refuse(Refusal::kOutOfMemory);
  Shard& shard = shard_of(key);
  const std::lock_guard lock(shard.mutex);
  Slot* slot = find_or_add(shard, key);
  if (slot == nullptr) return refuse(Refusal::kOutOfMemory);
  Interest& interest = interest_of(slot->second);
  if (!interest.queue) interest.queue = std::make_unique<std::deque<Blob>>();
  interest.queue->push_back(std::move(blob));
  if (!interest.waiting.empty()) wake_first(interest, wakeups);
  return {};
}

KeySpace::Popped KeySpace::queue_pop(std::string_view key) {
  Shard& shard = shard_of(key);
  const std::lock_guard lock(shard.mutex);
  const auto found = shard.find(key);
  if (found == nullptr || found->second.queue_length() == 0) return {0, {}};
  auto& queue = found->second.interest->queue;
  Popped popped{static_cast<int64_t>(queue->size()), std::move(queue->front())};
  queue->pop_front();
  if (queue->empty()) {
    queue.reset();
    drop_if_empty(shard, found->first);
  }
  return popped;
}

int64_t KeySpace::queue_length(std::string_view key) const {
  const Shard& shard = shard_of(key);
  const std::lock_guard lock(shard.mutex);
  const auto found = shard.find(key);
  return found == nullptr ? 0 : static_cast<int64_t>(found->second.queue_length());
}

Outcome<void> KeySpace::prepare(Wait& wait, size_t keys, const Ticket& ticket, uint64_t shards) {
  if (!budget_->try_charge(keys * sizeof(Wait::Place))) return refuse(Refusal::kOutOfMemory);
  wait.charged_ = keys * sizeof(Wait::Place);
  if (keys > 1) wait.more_ = std::make_unique<Wait::Place[]>(keys - 1);
  wait.ticket_ = ticket;
  wait.shards_ = shards;
  wait.places_ = 0;
  return {};
}

void KeySpace::enter(Slot& slot, Wait& wait) {
  Wait::Place& place = wait.place(wait.places_++);
  place.wait = &wait;
  place.key = &slot.first;
  interest_of(slot.second).waiting.push_back(place);
}

void KeySpace::leave_all(Wait& wait) {
  for (uint32_t index = 0; index < wait.places_; ++index) {
    Wait::Place& place = wait.place(index);
    if (!place.is_linked()) continue;
    place.unlink();
    drop_if_empty(shard_of(*place.key), *place.key);
  }
}

Outcome<bool> KeySpace::wait(const FieldList& keys, Wait& wait, const Ticket& ticket) {
  const uint64_t shards = shards_of(keys, 1);
  const ShardLocks locks(*this, shards);
  size_t missing = 0;
  for (const auto key : keys) {
    const Shard& shard = shard_of(key);
    const auto found = shard.find(key);
    if (found == nullptr || !found->second.ready()) ++missing;
  }
  if (missing == 0) return true;
  if (const auto prepared = prepare(wait, missing, ticket, shards); !prepared)
    return refuse(prepared.error());
  for (const auto key : keys) {
    Slot* slot = find_or_add(shard_of(key), key);
    if (slot == nullptr) {
      leave_all(wait);
      finish(wait);
      return refuse(Refusal::kOutOfMemory);
    }
    if (!slot->second.ready()) enter(*slot, wait);
  }
  wait.missing_.store(wait.places_, std::memory_order_release);
  return false;
}

Outcome<bool> KeySpace::barrier(std::string_view key, int64_t world_size, Wait& wait,
                                const Ticket& ticket, Wakeups& wakeups) {
  if (const auto prepared = prepare(wait, 1, ticket, uint64_t{1} << shard_index(key)); !prepared)
    return refuse(prepared.error());
  Shard& shard = shard_of(key);
  const std::lock_guard lock(shard.mutex);
  Slot* slot = find_or_add(shard, key);
  const auto arrived = slot == nullptr ? refuse(Refusal::kOutOfMemory) : count_up(*slot, 1);
  if (arrived && *arrived < world_size) {
    enter(*slot, wait);
    wait.missing_.store(1, std::memory_order_release);
    return false;
  }
  finish(wait);
  if (!arrived) {
    if (slot != nullptr) drop_if_empty(shard, slot->first);
    return refuse(arrived.error());
  }
  wake_all(slot->second, wakeups);
  return true;
}

void KeySpace::cancel(Wait& wait) {
  {
    const ShardLocks locks(*this, wait.shards_);
    leave_all(wait);
  }
  finish(wait);
}

void KeySpace::finish(Wait& wait) {
  budget_->release(wait.charged_);
  wait.charged_ = 0;
  wait.places_ = 0;
  wait.shards_ = 0;
  wait.more_.reset();
}

Outcome<void> KeySpace::watch(std::string_view key, const Ticket& ticket) {
  Shard& shard = shard_of(key);
  const std::lock_guard lock(shard.mutex);
  Slot* slot = find_or_add(shard, key);
  if (slot == nullptr) return refuse(Refusal::kOutOfMemory);
  if (!budget_->try_charge(sizeof(Ticket))) {
    drop_if_empty(shard, slot->first);
    return refuse(Refusal::kOutOfMemory);
  }
  interest_of(slot->second).watchers.push_back(ticket);
  return {};
}

void KeySpace::unwatch(std::string_view key, const Ticket& ticket) {
  Shard& shard = shard_of(key);
  const std::lock_guard lock(shard.mutex);
  const auto found = shard.find(key);
  if (found == nullptr || !found->second.interest) return;
  const auto removed = std::erase(found->second.interest->watchers, ticket);
  budget_->release(removed * sizeof(Ticket));
  drop_if_empty(shard, found->first);
}

}  // namespace megalaunch
