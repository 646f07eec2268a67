// Plays a random script of connects, requests, random bytes, splits, silences, wake-ups and
// disconnects against sessions over one key space. At the end everything must be given back.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "tests/rendezvous/store/session_harness.h"

namespace {

using namespace megalaunch;

void require(bool condition) {
  if (!condition) std::abort();
}

/// Takes the script apart; zeros when it is used up.
class Script {
 public:
  Script(const uint8_t* data, size_t size) : at_(data), end_(data + size) {}
  bool done() const { return at_ == end_; }
  uint8_t byte() { return done() ? 0 : *at_++; }
  std::string bytes(size_t count) {
    std::string text;
    while (count-- > 0 && !done()) text.push_back(static_cast<char>(byte()));
    return text;
  }

 private:
  const uint8_t* at_;
  const uint8_t* end_;
};

StoreLimits small_limits() {
  StoreLimits limits;
  limits.key_bytes = 32;
  limits.value_bytes = 64;
  limits.count = 8;
  limits.frame_bytes = 512;
  limits.queued_bytes = 1024;
  limits.total_bytes = 4096;
  return limits;
}

std::string random_request(Script& script, Dialect dialect) {
  const auto operation = static_cast<Operation>(script.byte() % kOperationCount);
  if (!opcode_of(dialect, operation)) return {};
  // Few keys, so that they meet; values that are sometimes numbers.
  static const std::string kKeys[] = {"/a", "/b", "/c", ""};
  static const std::string kValues[] = {"", "1", "-3", "x",
                                        "0123456789012345678901234567890123456789"};
  const auto fields = fields_of(operation);
  std::vector<std::string_view> strings;
  const size_t entries = fields == "N" || fields == "P" ? script.byte() % 4 : 1;
  for (size_t entry = 0; entry < entries; ++entry) {
    if (fields == "P") {
      strings.push_back(kKeys[script.byte() % 4]);
      strings.push_back(kValues[script.byte() % 5]);
      continue;
    }
    for (const char field : fields) {
      if (field == 'S' || field == 'N') strings.push_back(kKeys[script.byte() % 4]);
      if (field == 'V') strings.push_back(kValues[script.byte() % 5]);
    }
  }
  std::string request;
  const int64_t number =
      operation == Operation::kValidate ? kMagicWord : static_cast<int8_t>(script.byte());
  encode_request(request, dialect, operation, strings, number);
  return request;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Script script(data, size);
  SessionHarness store(small_limits());
  std::vector<SessionHarness::Client*> clients;
  std::vector<Dialect> dialects;
  for (int index = 0; index < 3; ++index) {
    const uint8_t choice = script.byte() % 4;
    constexpr std::optional<Dialect> kExpected[] = {std::nullopt, Dialect::kL1, Dialect::kL2,
                                                    std::nullopt};
    clients.push_back(&store.connect(kExpected[choice]));
    dialects.push_back(choice == 0 ? Dialect::kL1 : kExpected[choice].value_or(Dialect::kMagic));
    if (choice == 3) store.send(*clients.back(), kMagicOpening);
  }
  while (!script.done()) {
    const size_t which = script.byte() % clients.size();
    auto& client = *clients[which];
    if (!client.session) continue;
    if (client.closed) {
      store.disconnect(client);
      continue;
    }
    switch (script.byte() % 8) {
      case 0:
        store.send(client, script.bytes(script.byte() % 40));
        break;  // anything
      case 1:
        store.be_silent(client);
        break;
      case 2:
        store.disconnect(client);
        break;
      case 3: {  // a request, split in two, with the wake-ups held back in between
        const auto request = random_request(script, dialects[which]);
        const size_t split = request.empty() ? 0 : script.byte() % request.size();
        store.send(client, request.substr(0, split));
        store.send(client, request.substr(split));
        break;
      }
      case 4: {  // several at once
        std::string requests;
        for (int count = script.byte() % 4; count >= 0; --count)
          requests += random_request(script, dialects[which]);
        store.send(client, requests);
        break;
      }
      default:
        store.send(client, random_request(script, dialects[which]));
        break;
    }
    client.output.clear();
    require(store.budget.used() <= store.limits.total_bytes);
    require(store.keys->size() >= 0);
  }
  for (auto* client : clients) store.disconnect(*client);
  store.keys.reset();
  require(store.budget.used() == 0);
  return 0;
}
