#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "rendezvous/store/refusal.h"
#include "rendezvous/store/request.h"
#include "rendezvous/store/store_limits.h"
#include "rendezvous/store/wire_format.h"

namespace megalaunch {

/// Finds the dialect of a connection and cuts its bytes into requests. Pure: no socket, no clock,
/// and no bytes are kept. The caller shows the unconsumed bytes again, with more at their end; each
/// is looked at once however they are split.
class FrameDecoder {
 public:
  enum class State {
    kNeedMore,   ///< the request is not whole
    kRequest,    ///< `request()` is set; the caller drops frame_bytes() bytes from the front
    kAmbiguous,  ///< DELETE_KEY of L1 or the front half of APPEND of L2: only time can tell (see
                 ///< decide_l1)
    kRefused,    ///< `refusal()` is set; the connection is beyond repair
  };

  /// `expected` settles what the bytes cannot tell (L1 or L2). A magic opening is recognised
  /// whatever is expected. `limits` outlives the decoder.
  explicit FrameDecoder(const StoreLimits& limits, std::optional<Dialect> expected = std::nullopt)
      : limits_(&limits), expected_(expected) {}

  /// `bytes` starts with the first byte of a request. Between kNeedMore answers it only grows;
  /// after kRequest it starts frame_bytes() further.
  State decode(std::string_view bytes);

  const Request& request() const { return request_; }
  Refusal refusal() const { return refusal_; }
  size_t frame_bytes() const { return frame_bytes_; }
  /// At least that many bytes belong to the request at the front, as far as is known.
  size_t needed_bytes() const { return needed_; }

  /// Nothing until enough of the first bytes is there.
  std::optional<Dialect> dialect() const { return dialect_; }
  /// A peer that sent `08 <key>` and then nothing waits for the answer to an L1 DELETE_KEY. Call
  /// decode() again.
  void decide_l1() {
    dialect_ = Dialect::kL1;
    restart();
  }

 private:
  State refuse_frame(Refusal refusal);
  State detect(std::string_view bytes);
  State begin(std::string_view bytes);
  State finish(std::string_view frame);
  bool take(std::string_view bytes, size_t count);
  State take_counted(std::string_view bytes, size_t limit, Refusal too_long);
  void restart();

  const StoreLimits* limits_;
  std::optional<Dialect> expected_;
  std::optional<Dialect> dialect_;

  // Where the scan of the current frame stands.
  bool begun_ = false;
  bool is_value_ = false;  // in P: the next field is the value of a pair
  Operation operation_ = Operation::kKeyCount;
  uint8_t field_ = 0;                  // index in fields_of(operation_)
  std::optional<uint64_t> remaining_;  // in N and P: fields still to come
  size_t at_ = 0;                      // bytes scanned
  size_t needed_ = 1;

  size_t frame_bytes_ = 0;
  Request request_;
  Refusal refusal_ = Refusal::kNotTheProtocol;
};

}  // namespace megalaunch
