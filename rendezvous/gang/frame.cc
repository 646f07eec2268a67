#include "rendezvous/gang/frame.h"

namespace megalaunch {

std::string encode_frame(std::string_view payload) {
  const auto size = static_cast<uint32_t>(payload.size());
  std::string frame;
  frame.reserve(kFrameHeaderSize + payload.size());
  for (int shift = 0; shift < 32; shift += 8)
    frame.push_back(static_cast<char>((size >> shift) & 0xFF));
  frame.append(payload);
  return frame;
}

Result<std::optional<std::string>> FrameReader::next() {
  if (buffer_.size() < kFrameHeaderSize) return std::nullopt;
  uint32_t size = 0;
  for (unsigned i = 0; i < kFrameHeaderSize; ++i)
    size |= static_cast<uint32_t>(static_cast<unsigned char>(buffer_[i])) << (8 * i);
  if (size > limit_)
    return fail(Error::Kind::kProtocol, "the peer announces a frame of {} bytes, the limit is {}",
                size, limit_);
  if (buffer_.size() < kFrameHeaderSize + size) return std::nullopt;
  std::string payload = buffer_.substr(kFrameHeaderSize, size);
  buffer_.erase(0, kFrameHeaderSize + size);
  return payload;
}

}  // namespace megalaunch
