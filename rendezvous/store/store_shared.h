#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "env/clock.h"
#include "env/log.h"
#include "env/unique_fd.h"
#include "rendezvous/store/disposal.h"
#include "rendezvous/store/key_space.h"
#include "rendezvous/store/memory_budget.h"
#include "rendezvous/store/peers.h"
#include "rendezvous/store/refusal_log.h"
#include "rendezvous/store/store_limits.h"

namespace megalaunch {

/// One life of the key space. Whoever was accepted in it keeps it, so a late request can only touch
/// the keys of its own.
struct StoreGeneration {
  uint64_t number = 0;
  std::shared_ptr<KeySpace> keys;
};

/// An accepted connection, on its way to the thread that will serve it.
struct Newcomer {
  UniqueFd socket;
  PeerAddress address;
  StoreGeneration generation;
};

/// What the threads of one StoreServer have in common. Outlives them.
struct StoreShared {
  StoreShared(const StoreLimits& the_limits, std::optional<Dialect> dialect, Log the_log)
      : limits(the_limits),
        expected_dialect(dialect),
        log(the_log),
        budget(limits.total_bytes),
        refusals(the_log, clock) {
    current = {0, new_key_space()};
  }

  const StoreLimits limits;
  const std::optional<Dialect> expected_dialect;
  const Log log;
  const SystemClock clock;
  MemoryBudget budget;
  Peers peers;
  RefusalLog refusals;
  std::atomic<uint64_t> connections{0};  ///< open now, wherever they are
  std::atomic<uint64_t> accepted{0};
  Disposal disposal;

  /// Whoever lets go of it last does not have to destroy all its keys.
  std::shared_ptr<KeySpace> new_key_space() {
    return {new KeySpace(limits, budget),
            [this](KeySpace* keys) { disposal.add([keys] { delete keys; }); }};
  }
  StoreGeneration generation() const {
    const std::lock_guard lock(generation_mutex);
    return current;
  }

  mutable std::mutex generation_mutex;
  StoreGeneration current;
};

}  // namespace megalaunch
