#include "rendezvous/store/peer_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>

namespace megalaunch {
namespace {

constexpr std::array<uint8_t, 12> kMappedPrefix{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};

std::array<uint8_t, 16> mapped(const in_addr& address) {
  std::array<uint8_t, 16> bytes{};
  std::copy(kMappedPrefix.begin(), kMappedPrefix.end(), bytes.begin());
  const auto* four = reinterpret_cast<const uint8_t*>(&address);
  std::copy(four, four + 4, bytes.begin() + 12);
  return bytes;
}

}  // namespace

PeerAddress PeerAddress::of(const sockaddr_storage& address) {
  PeerAddress peer;
  if (address.ss_family == AF_INET) {
    peer.bytes_ = mapped(reinterpret_cast<const sockaddr_in&>(address).sin_addr);
  } else if (address.ss_family == AF_INET6) {
    const auto& six = reinterpret_cast<const sockaddr_in6&>(address).sin6_addr;
    std::copy(six.s6_addr, six.s6_addr + 16, peer.bytes_.begin());
  }
  return peer;
}

std::optional<PeerAddress> PeerAddress::parse(const std::string& text) {
  PeerAddress peer;
  const std::string without_zone = text.substr(0, text.find('%'));
  if (in_addr four{}; ::inet_pton(AF_INET, text.c_str(), &four) == 1) {
    peer.bytes_ = mapped(four);
    return peer;
  }
  if (::inet_pton(AF_INET6, without_zone.c_str(), peer.bytes_.data()) == 1) return peer;
  return std::nullopt;
}

bool PeerAddress::is_loopback() const {
  if (std::equal(kMappedPrefix.begin(), kMappedPrefix.end(), bytes_.begin()))
    return bytes_[12] == 127;
  constexpr std::array<uint8_t, 16> kLoopback{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
  return bytes_ == kLoopback;
}

std::string PeerAddress::to_string() const {
  char text[INET6_ADDRSTRLEN] = "";
  if (std::equal(kMappedPrefix.begin(), kMappedPrefix.end(), bytes_.begin()))
    ::inet_ntop(AF_INET, bytes_.data() + 12, text, sizeof(text));
  else
    ::inet_ntop(AF_INET6, bytes_.data(), text, sizeof(text));
  return text;
}

}  // namespace megalaunch
