// Peers that misbehave: they are closed and counted, and the others do not notice.
#include <gtest/gtest.h>
#include <malloc.h>

#include <fstream>
#include <mutex>
#include <random>
#include <thread>

#include "tests/rendezvous/store/raw_client.h"
#include "tests/rendezvous/store/running_store.h"

namespace megalaunch {
namespace {

using enum Operation;

TEST(StoreUnderAttack, ScannersAreClosedAndCountedInOneLine) {
  std::mutex mutex;
  std::vector<std::string> lines;
  const auto server =
      start(StoreLimits{}, Log::to_function([&](Log::Level level, std::string_view line) {
              const std::lock_guard lock(mutex);
              if (level == Log::Level::kWarning) lines.emplace_back(line);
            }));
  std::mt19937 random(1);
  std::vector<std::string> openings{"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
                                    std::string("\x16\x03\x01\x02\x00\x01", 6),
                                    "SSH-2.0-OpenSSH_9.2\r\n", "OPTIONS * RTSP/1.0\r\n\r\n"};
  while (openings.size() < 200) {
    std::string noise;
    noise.push_back(static_cast<char>(32 + random() % 200));
    for (size_t size = 1 + random() % 400; size > 0; --size)
      noise.push_back(static_cast<char>(random()));
    openings.push_back(noise);
  }
  for (const auto& opening : openings) {
    RawClient scanner(server->port());
    scanner.send(opening);
    EXPECT_TRUE(scanner.closed_within(seconds(5)));
  }
  EXPECT_EQ(server->statistics().refused, openings.size());
  EXPECT_TRUE(connect(*server).set("/k", "v"));
  const std::lock_guard lock(mutex);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_NE(lines[0].find("no torch client sends"), std::string::npos) << lines[0];
  EXPECT_NE(lines[0].find("127.0.0.1"), std::string::npos) << lines[0];
}

TEST(StoreUnderAttack, WhoSendsNothingIsClosedAtTheDeadline) {
  StoreLimits limits;
  limits.first_bytes = milliseconds(50);
  const auto server = start(limits);
  RawClient silent(server->port());
  EXPECT_TRUE(silent.closed_within(seconds(5)));
  EXPECT_EQ(server->statistics().refused, 1u);
}

TEST(StoreUnderAttack, TheSilentSecondConnectionOfALegacyClientIsKept) {
  StoreLimits limits;
  limits.first_bytes = milliseconds(50);
  const auto server = start(limits);
  RawClient main(server->port()), second(server->port()), third(server->port());
  main.send(legacy(kAdd, {"init/"}, 1));
  EXPECT_EQ(main.receive(8).size(), 8u);
  // One silent connection is explained by the legacy one, a second is not.
  EXPECT_TRUE(eventually([&] { return server->statistics().refused == 1; }));
  EXPECT_TRUE(eventually([&] { return server->statistics().connections_now == 2; }));
  const bool second_closed = second.closed_within(milliseconds(150));
  const bool third_closed = third.closed_within(milliseconds(150));
  EXPECT_NE(second_closed, third_closed);
  // It can speak whenever it wants to.
  RawClient& kept = second_closed ? third : second;
  kept.send(legacy(kKeyCount));
  EXPECT_EQ(kept.receive(8), std::string("\1\0\0\0\0\0\0\0", 8));
}

TEST(StoreUnderAttack, AHalfSentRequestIsClosedAtTheDeadlineAndAQuietConnectionIsNot) {
  StoreLimits limits;
  limits.first_bytes = milliseconds(50);
  limits.half_frame = milliseconds(50);
  limits.stalled_reply = milliseconds(50);
  const auto server = start(limits);
  auto quiet = connect(*server);
  RawClient half(server->port()), dribbling(server->port()), parked(server->port());
  parked.send(kOpening + magic(kWait, {"/k"}));
  half.send(kOpening + magic(kSet, {"/k", "value"}).substr(0, 12));
  EXPECT_TRUE(half.closed_within(seconds(5)));
  // A byte now and then does not help.
  dribbling.send(kOpening);
  const auto slow = magic(kSet, {"/k", std::string(1000, 'v')});
  bool closed = false;
  for (size_t at = 0; at < slow.size() && !closed; ++at) {
    dribbling.send(std::string_view(slow).substr(at, 1));
    closed = dribbling.closed_within(milliseconds(5));
  }
  EXPECT_TRUE(closed);
  EXPECT_EQ(server->statistics().refused, 2u);
  EXPECT_TRUE(quiet.set("/k", "v"));
  EXPECT_EQ(parked.receive(1), std::string(1, kStopWaiting));
}

TEST(StoreUnderAttack, WhoDoesNotReadIsClosedWhileOthersWork) {
  StoreLimits limits;
  limits.stalled_reply = milliseconds(100);
  const auto server = start(limits);
  auto other = connect(*server);
  ASSERT_TRUE(other.set("/large", std::string(8 << 20, 'v')));
  ASSERT_EQ(other.key_count(), 1);  // a SET has no reply: this one says that it is done
  RawClient lazy(server->port());
  lazy.set_receive_buffer(4096);
  std::string requests = kOpening;
  for (int index = 0; index < 1000; ++index) requests += magic(kGet, {"/large"});
  lazy.send(requests);
  EXPECT_TRUE(eventually([&] {
    EXPECT_TRUE(other.add("/n", 1));
    return server->statistics().refused == 1;
  }));
  EXPECT_TRUE(eventually([&] { return server->statistics().connections_now == 1; }));
  // The queued replies are gone; the value is still there.
  EXPECT_LT(server->statistics().memory_now, 10u << 20);
}

TEST(StoreUnderAttack, ClaimedLengthsTakeNoMemory) {
  const auto server = start();
  auto other = connect(*server);
  std::vector<std::unique_ptr<RawClient>> claimants;
  for (int index = 0; index < 200; ++index) {
    claimants.push_back(std::make_unique<RawClient>(server->port()));
    std::string claim = kOpening + magic(kSet, {"/k", ""});
    claim.resize(claim.size() - 8);
    append_little<uint64_t>(claim, 60 << 20);
    claimants.back()->send(claim + "some of it");
  }
  EXPECT_TRUE(eventually([&] { return server->statistics().bytes_in > 200 * 30; }));
  EXPECT_TRUE(other.add("/n", 1));
  EXPECT_LT(server->statistics().memory_now, 1u << 20);
}

TEST(StoreUnderAttack, ConnectionsBeyondTheLimitAreClosed) {
  StoreLimits limits;
  limits.connections = 2;
  const auto server = start(limits);
  auto first = connect(*server), second = connect(*server);
  RawClient third(server->port());
  EXPECT_TRUE(third.closed_within(seconds(5)));
  EXPECT_TRUE(first.set("/k", "v"));
  EXPECT_EQ(server->statistics().refused, 1u);
}

TEST(StoreUnderAttack, TheTotalLimitHoldsAndTheStoreGoesOn) {
  StoreLimits limits;
  limits.total_bytes = 4 << 20;
  const auto server = start(limits);
  auto modest = connect(*server);
  ASSERT_TRUE(modest.set("/k", "v"));
  auto greedy = connect(*server);
  const std::string value(1 << 20, 'v');
  bool refused = false;
  for (int index = 0; index < 16 && !refused; ++index)
    refused = !greedy.set("/" + std::to_string(index), value) || !greedy.key_count();
  EXPECT_TRUE(refused);
  EXPECT_LE(server->statistics().memory_now, limits.total_bytes);
  EXPECT_EQ(modest.get("/k", seconds(1)), "v");
}

/// Resident memory of this process, in KiB.
long resident_kib() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmRSS:")) return std::stol(line.substr(6));
  return 0;
}

TEST(StoreUnderAttack, MemoryStaysFlatThroughKilledClientsAndTenThousandResets) {
  const auto server = start();
  auto steady = connect(*server);
  ASSERT_TRUE(steady.set("/k", "v"));
  uint64_t connected = 1;
  const auto misbehave = [&](int rounds) {
    for (int round = 0; round < rounds; ++round) {
      RawClient client(server->port());
      switch (round % 5) {
        case 0:
          break;  // nothing at all
        case 1:
          client.send(kOpening + magic(kSet, {"/x", "value"}).substr(0, 14));
          break;  // in the middle of a frame
        case 2:
          client.send(kOpening + magic(kWait, {"/never", "/ever"}));
          break;  // in the middle of a wait
        case 3:
          client.send(kOpening + magic(kWait, {"/never"}) + magic(kCancelWait));
          break;
        default:
          client.send(legacy(kWait, {"/never"}));
          break;
      }
      if (round % 2 == 0)
        client.reset();
      else
        client.close();
    }
    connected += static_cast<uint64_t>(rounds);
    EXPECT_TRUE(eventually([&] {
      const auto now = server->statistics();
      return now.accepted == connected && now.connections_now == 1;
    }));
    EXPECT_TRUE(steady.set("/k", "v"));
  };
  misbehave(1000);
  const auto memory_before = server->statistics().memory_now;
  ::malloc_trim(0);
  [[maybe_unused]] const long resident_before = resident_kib();
  misbehave(10'000);
  EXPECT_EQ(server->statistics().memory_now, memory_before);
  ::malloc_trim(0);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // they keep what was freed
  EXPECT_LT(resident_kib() - resident_before, 4096);
#endif
  EXPECT_EQ(steady.get("/k", seconds(1)), "v");
}

}  // namespace
}  // namespace megalaunch
