#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "env/result.h"

namespace megalaunch {

/// Constants and framing of the agents' channel; the whole format is in channel_format.md beside
/// this file. Pure.

inline constexpr std::string_view kGangMagic = "MLA1";
inline constexpr int kGangProtocol = 1;
inline constexpr size_t kFrameHeaderSize = 4;
inline constexpr size_t kMaxFrameBeforeProof = 64 * 1024;
inline constexpr size_t kMaxFrame = 16 * 1024 * 1024;

/// The payload with its length in front.
std::string encode_frame(std::string_view payload);

/// Cuts a byte stream into payloads. Never holds more than one frame of the limit plus what one
/// feed() brought.
class FrameReader {
 public:
  /// Allows larger frames from now on; before it kMaxFrameBeforeProof holds.
  void trust_peer() { limit_ = kMaxFrame; }

  /// Adds received bytes.
  void feed(std::string_view bytes) { buffer_.append(bytes); }
  /// The next whole payload; nothing while it is incomplete; an error when its length exceeds the
  /// limit (then the stream is lost and the connection has to be closed).
  Result<std::optional<std::string>> next();

 private:
  std::string buffer_;
  size_t limit_ = kMaxFrameBeforeProof;
};

}  // namespace megalaunch
