// Replays recorded conversations of real torch clients with torch's own server: the same bytes in,
// the same bytes out.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "tests/rendezvous/store/session_harness.h"

namespace megalaunch {
namespace {

std::string from_hex(const std::string& hex) {
  std::string bytes;
  for (size_t at = 0; at + 1 < hex.size(); at += 2)
    bytes.push_back(static_cast<char>(std::stoi(hex.substr(at, 2), nullptr, 16)));
  return bytes;
}

/// LIST_KEYS names keys in the order of the server's hash table: only their set means something.
std::string with_sorted_keys(const std::string& reply) {
  std::vector<std::string> keys;
  for (const auto key :
       FieldList(std::string_view(reply).substr(8), load_little<uint64_t>(reply.data())))
    keys.emplace_back(key);
  std::sort(keys.begin(), keys.end());
  std::string sorted = reply.substr(0, 8);
  for (const auto& key : keys) append_counted(sorted, key);
  return sorted;
}

/// `split` cuts what a client sends at once into what the server gets at once.
void replay(const std::string& file,
            const std::function<std::vector<std::string>(const std::string&)>& split) {
  std::ifstream stream(std::string(MEGALAUNCH_TEST_DATA) + "/wire/" + file);
  const auto steps = nlohmann::json::parse(stream);
  SessionHarness store;
  std::map<int, SessionHarness::Client*> clients;
  int replies = 0;
  for (const auto& step : steps) {
    SCOPED_TRACE(step.at("step").get<std::string>());
    for (const auto& event : step.at("bytes")) {
      auto& client = clients[event.at("conn").get<int>()];
      if (client == nullptr) client = &store.connect();
      const auto hex = event.at("hex").get<std::string>();
      if (event.at("from") == "client") {
        if (hex == "EOF") {
          store.disconnect(*client);
          continue;
        }
        for (const auto& piece : split(from_hex(hex))) store.send(*client, piece);
      } else if (hex == "EOF") {
        EXPECT_TRUE(client->closed.has_value());
      } else {
        store.be_silent(*client);
        const auto expected = from_hex(hex);
        const auto got = client->take();
        if (step.at("step") == "list")
          EXPECT_EQ(with_sorted_keys(got), with_sorted_keys(expected));
        else
          EXPECT_EQ(got, expected);
        ++replies;
      }
    }
  }
  for (const auto& [number, client] : clients)
    EXPECT_EQ(client->output, "") << "connection " << number;
  EXPECT_GE(replies, 18);
}

std::vector<std::string> whole(const std::string& bytes) {
  return {bytes};
}
std::vector<std::string> byte_by_byte(const std::string& bytes) {
  std::vector<std::string> pieces;
  for (const char byte : bytes) pieces.emplace_back(1, byte);
  return pieces;
}

class Replay : public testing::TestWithParam<const char*> {};

TEST_P(Replay, GivesTheRecordedReplies) {
  replay(GetParam(), whole);
}
TEST_P(Replay, GivesTheRecordedRepliesToSingleBytes) {
  replay(GetParam(), byte_by_byte);
}
TEST_P(Replay, GivesTheRecordedRepliesToRandomPieces) {
  std::mt19937 random(20240711);
  for (int round = 0; round < 200; ++round) {
    replay(GetParam(), [&](const std::string& bytes) {
      std::vector<std::string> pieces;
      for (size_t at = 0; at < bytes.size();) {
        const size_t size = std::min<size_t>(1 + random() % 12, bytes.size() - at);
        pieces.push_back(bytes.substr(at, size));
        at += size;
      }
      return pieces;
    });
  }
}

INSTANTIATE_TEST_SUITE_P(RecordedSessions, Replay,
                         testing::Values("torch-1.13.json", "torch-2.11.json"),
                         [](const auto& info) {
                           return std::string(info.param).starts_with("torch-1") ? "Torch113"
                                                                                 : "Torch211";
                         });

}  // namespace
}  // namespace megalaunch
