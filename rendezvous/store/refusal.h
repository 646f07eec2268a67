#pragma once

#include <cstdint>
#include <string_view>
#include <tl/expected.hpp>

namespace megalaunch {

/// Why the store closed a connection. The protocol has no error reply: closing is all that a peer
/// is told.
enum class Refusal : uint8_t {
  kNotTheProtocol,  ///< first bytes that no torch sends: a port scanner, HTTP, TLS
  kUnknownOpcode,
  kWrongMagic,
  kKeyTooLong,
  kValueTooLong,
  kTooManyKeys,
  kFrameTooLong,
  kNotANumber,    ///< ADD or BARRIER on a value that is not a decimal number
  kReplyTooLong,  ///< the reply alone would go beyond the limit of queued bytes
  kQueueFull,     ///< the peer does not read what it is sent
  kOutOfMemory,   ///< the store's total limit
  kNoFirstBytes,  ///< deadline
  kHalfFrame,     ///< deadline
  kStalledReply,  ///< deadline
  kTooManyConnections,
  kUnknownAddress,  ///< no node whose agent joined
};
inline constexpr int kRefusalCount = 16;

/// For a person, to stand after "closed: ".
std::string_view describe(Refusal refusal);

template <class T>
using Outcome = tl::expected<T, Refusal>;

inline tl::unexpected<Refusal> refuse(Refusal refusal) {
  return tl::unexpected<Refusal>(refusal);
}

}  // namespace megalaunch
