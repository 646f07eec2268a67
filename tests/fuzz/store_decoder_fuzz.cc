// Cuts a random byte stream into requests in two ways, whole and in random pieces: both must find
// the same requests.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "rendezvous/store/frame_decoder.h"

namespace {

using namespace megalaunch;

StoreLimits small_limits() {
  StoreLimits limits;
  limits.key_bytes = 64;
  limits.value_bytes = 256;
  limits.count = 16;
  limits.frame_bytes = 1024;
  return limits;
}

void require(bool condition) {
  if (!condition) std::abort();
}

struct Cut {
  size_t end;
  Operation operation;
  std::string fields;
  bool operator==(const Cut&) const = default;
};

/// Shows the stream in pieces whose sizes the bytes of `sizes` say; all at once when there are
/// none.
std::vector<Cut> cut(std::string_view stream, std::string_view sizes,
                     std::optional<Dialect> expected) {
  static const StoreLimits limits = small_limits();
  FrameDecoder decoder(limits, expected);
  std::vector<Cut> cuts;
  size_t start = 0, shown = sizes.empty() ? stream.size() : 0, next_size = 0;
  for (;;) {
    const auto state = decoder.decode(stream.substr(start, shown - start));
    if (state == FrameDecoder::State::kRefused) return cuts;
    if (state == FrameDecoder::State::kRequest) {
      const Request& request = decoder.request();
      require(decoder.frame_bytes() > 0 && decoder.frame_bytes() <= shown - start);
      start += decoder.frame_bytes();
      std::string fields(request.key);
      fields.append(request.value)
          .append(request.desired)
          .append(std::to_string(request.number ^ request.word));
      for (const auto field : request.list) fields.append(field);
      cuts.push_back({start, request.operation, fields});
      continue;
    }
    require(decoder.needed_bytes() >= shown - start);
    // Ambiguous at the end of the stream, and only there, for how the stream is split must not
    // matter.
    if (shown == stream.size()) return cuts;
    shown = std::min(stream.size(),
                     shown + 1 + static_cast<uint8_t>(sizes[next_size++ % sizes.size()]) % 32);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 10) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  constexpr std::optional<Dialect> kExpected[] = {std::nullopt, Dialect::kL1, Dialect::kL2,
                                                  Dialect::kMagic};
  const auto expected = kExpected[data[0] % 4];
  const auto stream = input.substr(9);
  require(cut(stream, {}, expected) == cut(stream, input.substr(1, 8), expected));
  return 0;
}
