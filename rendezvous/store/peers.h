#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <set>

#include "rendezvous/store/peer_address.h"

namespace megalaunch {

/// Who may speak to the store, and who of them holds connections of a legacy torch: those open a
/// second connection that stays silent for its whole life. Thread-safe.
class Peers {
 public:
  /// Before the first call everyone is admitted; loopback always is.
  void admit_only(std::set<PeerAddress> addresses);
  bool admits(const PeerAddress& address) const;

  void legacy_opened(const PeerAddress& address);
  void legacy_closed(const PeerAddress& address);

  /// Whether one more silent connection from there is explained by a legacy connection. If so it is
  /// counted until silent_ended().
  bool allow_silent(const PeerAddress& address);
  void silent_ended(const PeerAddress& address);

 private:
  struct Legacy {
    int talking = 0;
    int silent = 0;
  };
  void drop_if_gone(std::map<PeerAddress, Legacy>::iterator at);

  mutable std::mutex mutex_;
  std::optional<std::set<PeerAddress>> admitted_;
  std::map<PeerAddress, Legacy> legacy_;
};

}  // namespace megalaunch
