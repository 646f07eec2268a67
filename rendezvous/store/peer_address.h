#pragma once

#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>

namespace megalaunch {

/// An IP address without a port, IPv4 in its IPv6-mapped form, so that one peer has one address
/// however it connects.
class PeerAddress {
 public:
  PeerAddress() = default;
  static PeerAddress of(const sockaddr_storage& address);
  /// A numeric address, IPv4 or IPv6 (a zone such as %eth0 is ignored); nothing for anything else.
  static std::optional<PeerAddress> parse(const std::string& text);

  bool is_loopback() const;
  std::string to_string() const;
  auto operator<=>(const PeerAddress&) const = default;

 private:
  std::array<uint8_t, 16> bytes_{};
};

}  // namespace megalaunch
