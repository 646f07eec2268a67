#pragma once

#include <array>
#include <cstdint>
#include <mutex>
#include <optional>

#include "env/clock.h"
#include "env/log.h"
#include "rendezvous/store/peer_address.h"
#include "rendezvous/store/refusal.h"

namespace megalaunch {

/// Counts refused connections and says so in at most one line a minute, however many there are.
/// Thread-safe.
class RefusalLog {
 public:
  /// `clock` outlives it.
  RefusalLog(Log log, const Clock& clock) : log_(std::move(log)), clock_(clock) {}

  void count(Refusal refusal, const PeerAddress& address);
  uint64_t total() const;

 private:
  Log log_;
  const Clock& clock_;
  mutable std::mutex mutex_;
  uint64_t total_ = 0;
  std::array<uint64_t, kRefusalCount> unreported_{};
  std::optional<SteadyTime> last_line_;
};

}  // namespace megalaunch
