// Any bytes as a stream of the agents' channel, cut anywhere, and each payload as every message
// that it could be: no crash, and what was understood means the same after another trip over the
// wire.
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string_view>

#include "launcher/gang/message.h"
#include "rendezvous/gang/frame.h"

namespace {

using namespace megalaunch;

void require(bool holds) {
  if (!holds) std::abort();
}

template <class Read>
void check(const nlohmann::json& json, Read read) {
  const auto message = read(json);
  if (!message) return;
  const nlohmann::json written = to_json(*message);
  const auto again = read(written);
  require(again.has_value());
  require(to_json(*again) == written);
}

void check_payload(std::string_view payload) {
  const auto json = nlohmann::json::parse(payload, nullptr, false);
  if (json.is_discarded()) return;
  check(json, member_details_from_json);
  check(json, welcome_from_json);
  check(json, order_from_json);
  check(json, news_from_json);
}

std::vector<std::string> frames(std::string_view stream, size_t cut) {
  FrameReader reader;
  std::vector<std::string> payloads;
  while (!stream.empty()) {
    const size_t count = std::min(cut, stream.size());
    reader.feed(stream.substr(0, count));
    stream.remove_prefix(count);
    for (;;) {
      auto payload = reader.next();
      if (!payload) return payloads;
      if (!payload->has_value()) break;
      require((*payload)->size() <= kMaxFrameBeforeProof);
      payloads.push_back(std::move(**payload));
    }
  }
  return payloads;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  check_payload(text);
  const auto whole = frames(text, size);
  if (size < 4096) require(frames(text, 1) == whole);
  for (const std::string& payload : whole) check_payload(payload);
  return 0;
}
