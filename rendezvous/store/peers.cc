#include "rendezvous/store/peers.h"

namespace megalaunch {

void Peers::admit_only(std::set<PeerAddress> addresses) {
  const std::lock_guard lock(mutex_);
  admitted_ = std::move(addresses);
}

bool Peers::admits(const PeerAddress& address) const {
  if (address.is_loopback()) return true;
  const std::lock_guard lock(mutex_);
  return !admitted_ || admitted_->contains(address);
}

void Peers::legacy_opened(const PeerAddress& address) {
  const std::lock_guard lock(mutex_);
  ++legacy_[address].talking;
}

void Peers::legacy_closed(const PeerAddress& address) {
  const std::lock_guard lock(mutex_);
  const auto at = legacy_.find(address);
  if (at == legacy_.end()) return;
  --at->second.talking;
  drop_if_gone(at);
}

bool Peers::allow_silent(const PeerAddress& address) {
  const std::lock_guard lock(mutex_);
  const auto at = legacy_.find(address);
  if (at == legacy_.end() || at->second.silent >= at->second.talking) return false;
  ++at->second.silent;
  return true;
}

void Peers::silent_ended(const PeerAddress& address) {
  const std::lock_guard lock(mutex_);
  const auto at = legacy_.find(address);
  if (at == legacy_.end()) return;
  --at->second.silent;
  drop_if_gone(at);
}

void Peers::drop_if_gone(std::map<PeerAddress, Legacy>::iterator at) {
  if (at->second.talking == 0 && at->second.silent == 0) legacy_.erase(at);
}

}  // namespace megalaunch
