#include "rendezvous/store/peers.h"

#include <gtest/gtest.h>
#include <netinet/in.h>

#include "rendezvous/store/refusal_log.h"
#include "tests/lib/manual_clock.h"

namespace megalaunch {
namespace {

PeerAddress address(const std::string& text) {
  return PeerAddress::parse(text).value();
}

TEST(PeerAddress, OnePeerHasOneAddressHoweverItConnects) {
  EXPECT_EQ(address("10.0.0.7"), address("::ffff:10.0.0.7"));
  EXPECT_EQ(address("fe80::1%eth0"), address("fe80::1"));
  EXPECT_NE(address("10.0.0.7"), address("10.0.0.8"));
  sockaddr_storage storage{};
  auto& four = reinterpret_cast<sockaddr_in&>(storage);
  four.sin_family = AF_INET;
  four.sin_addr.s_addr = htonl(0x0A000007);
  EXPECT_EQ(PeerAddress::of(storage), address("10.0.0.7"));
  EXPECT_EQ(PeerAddress::of(storage).to_string(), "10.0.0.7");
  EXPECT_EQ(address("fd00::2").to_string(), "fd00::2");
}

TEST(PeerAddress, OnlyNumericAddressesAreAddresses) {
  for (const char* text : {"", "localhost", "10.0.0", "10.0.0.7:80", "10.0.0.256", "::g"})
    EXPECT_EQ(PeerAddress::parse(text), std::nullopt) << text;
}

TEST(PeerAddress, LoopbackIsAllOf127AndOne) {
  for (const char* text : {"127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"})
    EXPECT_TRUE(address(text).is_loopback());
  for (const char* text : {"128.0.0.1", "::2", "10.127.0.1"})
    EXPECT_FALSE(address(text).is_loopback());
}

TEST(Peers, EveryoneIsAdmittedBeforeTheFirstListAndThenOnlyTheListed) {
  Peers peers;
  EXPECT_TRUE(peers.admits(address("10.0.0.7")));
  peers.admit_only({address("10.0.0.7")});
  EXPECT_TRUE(peers.admits(address("::ffff:10.0.0.7")));
  EXPECT_FALSE(peers.admits(address("10.0.0.8")));
  EXPECT_TRUE(peers.admits(address("::1")));
}

TEST(Peers, AnAddressHasAsManySilentConnectionsAsLegacyOnes) {
  Peers peers;
  const auto node = address("10.0.0.7");
  EXPECT_FALSE(peers.allow_silent(node));
  peers.legacy_opened(node);
  EXPECT_TRUE(peers.allow_silent(node));
  EXPECT_FALSE(peers.allow_silent(node));
  EXPECT_FALSE(peers.allow_silent(address("10.0.0.8")));
  peers.silent_ended(node);
  EXPECT_TRUE(peers.allow_silent(node));
  peers.legacy_closed(node);
  peers.silent_ended(node);
  EXPECT_FALSE(peers.allow_silent(node));
}

TEST(RefusalLog, WritesOneLineAMinuteThatCountsTheRest) {
  ManualClock clock;
  std::vector<std::string> lines;
  RefusalLog refusals(
      Log::to_function([&](Log::Level, std::string_view line) { lines.emplace_back(line); }),
      clock);
  for (int times = 0; times < 1000; ++times)
    refusals.count(Refusal::kNotTheProtocol, address("10.0.0.7"));
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_NE(lines[0].find("closed 1 connection: "), std::string::npos) << lines[0];
  clock.advance(std::chrono::seconds(59));
  refusals.count(Refusal::kHalfFrame, address("10.0.0.8"));
  EXPECT_EQ(lines.size(), 1u);
  clock.advance(std::chrono::seconds(1));
  refusals.count(Refusal::kHalfFrame, address("10.0.0.9"));
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_NE(lines[1].find("closed 1001 connections: 999 x "), std::string::npos) << lines[1];
  EXPECT_NE(lines[1].find("2 x sent half a request"), std::string::npos) << lines[1];
  EXPECT_NE(lines[1].find("10.0.0.9"), std::string::npos) << lines[1];
  EXPECT_EQ(refusals.total(), 1002u);
}

}  // namespace
}  // namespace megalaunch
