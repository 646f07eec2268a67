#pragma once

#include <cstddef>
#include <cstdint>

#include "env/clock.h"

namespace megalaunch {

/// What one peer, and all of them together, may cost the store. Every length is checked before
/// memory is taken for it. A connection that goes beyond a limit is closed and counted; the others
/// do not notice.
struct StoreLimits {
  size_t key_bytes = 64 * 1024;
  size_t value_bytes = 64u << 20;
  size_t count = 1u << 20;           ///< keys or pairs in one request
  size_t frame_bytes = 256u << 20;   ///< one request, opcode included
  size_t queued_bytes = 256u << 20;  ///< replies that one connection has not taken yet
  size_t total_bytes =
      size_t{4} << 30;  ///< keys, values, queues, waits, half frames and queued replies of everyone
  size_t connections = 100'000;

  /// From accept to the first bytes. The silent second connection of torch 1.13 is exempt
  /// (wire_format.md).
  milliseconds first_bytes{10'000};
  /// From the first byte of a request to its last. A connection between two requests may be quiet
  /// for ever.
  milliseconds half_frame{60'000};
  /// For a peer that takes nothing of the replies which wait for it.
  milliseconds stalled_reply{60'000};
};

}  // namespace megalaunch
