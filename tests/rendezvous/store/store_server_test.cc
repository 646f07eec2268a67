#include "rendezvous/store/store_server.h"

#include <gtest/gtest.h>
#include <ifaddrs.h>
#include <malloc.h>
#include <net/if.h>

#include <atomic>
#include <mutex>
#include <thread>

#include "tests/rendezvous/store/raw_client.h"
#include "tests/rendezvous/store/running_store.h"

namespace megalaunch {
namespace {

using enum Operation;

TEST(StoreServer, EveryOperationWorksThroughTheClient) {
  const auto server = start();
  auto client = connect(*server);
  ASSERT_TRUE(client.set("/k", "v"));
  EXPECT_EQ(client.get("/k", seconds(1)), "v");
  EXPECT_EQ(client.add("/n", 5), 5);
  EXPECT_EQ(client.add("/n", -7), -2);
  EXPECT_EQ(client.compare_set("/k", "v", "w"), "w");
  EXPECT_EQ(client.compare_set("/k", "no", "x"), "w");
  const std::vector<std::string_view> both{"/k", "/n"}, one_missing{"/k", "/missing"};
  EXPECT_EQ(client.check(both), true);
  EXPECT_EQ(client.check(one_missing), false);
  ASSERT_TRUE(client.append("/k", "x"));
  EXPECT_EQ(client.multi_get(both, seconds(1)), (std::vector<std::string>{"wx", "-2"}));
  const std::vector<std::string_view> pairs{"/a", "1", "/b", "2"};
  ASSERT_TRUE(client.multi_set(pairs));
  EXPECT_EQ(client.key_count(), 4);
  EXPECT_EQ(client.list_keys()->size(), 4u);
  EXPECT_EQ(client.erase("/a"), true);
  EXPECT_EQ(client.erase("/a"), false);
  ASSERT_TRUE(client.queue_push("/q", "e"));
  EXPECT_EQ(client.queue_length("/q"), 1);
  EXPECT_EQ(client.queue_pop("/q").value(), "e");
  EXPECT_EQ(client.queue_pop("/q").value(), std::nullopt);
  EXPECT_TRUE(client.barrier("/barrier", 1, seconds(1)));
}

TEST(StoreServer, AWaitThatTimesOutLeavesTheClientUsable) {
  const auto server = start();
  auto client = connect(*server);
  const auto missing = client.get("/missing", milliseconds(20));
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().kind, Error::Kind::kTimeout);
  ASSERT_TRUE(client.set("/missing", "now"));
  EXPECT_EQ(client.get("/missing", seconds(1)), "now");
}

TEST(StoreServer, AWaitOnOneThreadIsWokenFromAnother) {
  const auto server = start();
  constexpr int kClients = 16;
  std::vector<std::thread> threads;
  std::atomic<int> got{0};
  for (int index = 0; index < kClients; ++index)
    threads.emplace_back([&, client = connect(*server)]() mutable {
      if (client.add("/ready", 1) && client.get("/go", seconds(20)) == "now") ++got;
      if (client.barrier("/done", kClients, seconds(20))) ++got;
    });
  auto client = connect(*server);
  EXPECT_TRUE(eventually([&] { return client.add("/ready", 0) == kClients; }));
  ASSERT_TRUE(client.set("/go", "now"));
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(got, 2 * kClients);
}

TEST(StoreServer, APortInUseIsNamedWithItsErrno) {
  const auto server = start();
  StoreServer::Options options;
  options.bind_address = "127.0.0.1";
  options.port = server->port();
  const auto second = StoreServer::listen(std::move(options), Log::to_nowhere());
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, EADDRINUSE);
  EXPECT_NE(second.error().message.find("127.0.0.1:" + std::to_string(server->port())),
            std::string::npos);
}

TEST(StoreServer, OneSocketServesBothFamiliesWhenNoAddressIsGiven) {
  StoreServer::Options options;
  auto listening = StoreServer::listen(std::move(options), Log::to_nowhere());
  ASSERT_TRUE(listening) << listening.error().message;
  EXPECT_TRUE(StoreClient::connect("127.0.0.1", (*listening)->port(), seconds(5)));
  if (const int six = ::socket(AF_INET6, SOCK_STREAM, 0); six >= 0) {
    ::close(six);
    EXPECT_TRUE(StoreClient::connect("::1", (*listening)->port(), seconds(5)));
  }
}

TEST(StoreServer, ARequestMayComeByteByByte) {
  const auto server = start();
  RawClient client(server->port());
  for (const char byte : legacy(kAdd, {"init/"}, 1)) client.send({&byte, 1});
  EXPECT_EQ(client.receive(8), std::string("\1\0\0\0\0\0\0\0", 8));
}

TEST(StoreServer, ALegacyDeleteIsAnsweredAfterAShortSilence) {
  const auto server = start();
  RawClient client(server->port());
  client.send(legacy(kSet, {"/k", "v"}) + legacy(kDelete, {"/k"}));
  EXPECT_EQ(client.receive(8), std::string("\1\0\0\0\0\0\0\0", 8));
}

TEST(StoreServer, LargeValuesGoInAndOutWhole) {
  const auto server = start();
  auto writer = connect(*server);
  auto reader = connect(*server);
  std::string value(40 << 20, 'x');
  for (size_t at = 0; at < value.size(); at += 4096) value[at] = static_cast<char>(at >> 12);
  ASSERT_TRUE(writer.set("/large", value));
  const auto got = reader.get("/large", seconds(20));
  ASSERT_TRUE(got);
  EXPECT_TRUE(*got == value);
}

TEST(StoreServer, ManyRequestsAtOnceAreAnsweredInOrder) {
  const auto server = start();
  RawClient client(server->port());
  std::string requests = kOpening;
  std::string expected;
  for (int index = 1; index <= 20'000; ++index) {
    requests += magic(kAdd, {"/n"}, 1);
    append_little<int64_t>(expected, index);
  }
  client.send(requests);
  EXPECT_TRUE(client.receive(expected.size()) == expected);
}

TEST(StoreServer, WhatAClientSaidBeforeItHungUpIsDone) {
  const auto server = start();
  constexpr int kClients = 300;  // more than are closed at a time
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int index = 0; index < kClients; ++index)
    clients.push_back(std::make_unique<RawClient>(server->port()));
  // Requests without a reply: with one unread, the kernel would take back what was said.
  for (auto& client : clients)
    client->send(kOpening + magic(kSet, {"/last", std::string(300'000, 'v')}) +
                 magic(kQueuePush, {"/said", "x"}));
  clients.clear();
  auto other = connect(*server);
  EXPECT_TRUE(eventually([&] { return server->statistics().connections_now == 1; }));
  EXPECT_EQ(other.queue_length("/said"), kClients);
}

TEST(StoreServer, AListOfManyKeysDoesNotHoldUpOthers) {
  StoreServer::Options options;
  options.threads = 1;
  const auto server = start(std::move(options));
  auto writer = connect(*server), lister = connect(*server), other = connect(*server);
  std::vector<std::string> names;
  const std::string padding(80, 'k');
  for (int index = 0; index < 50'000; ++index)
    names.push_back("/" + padding + std::to_string(index));
  std::vector<std::string_view> pairs;
  for (const auto& name : names) pairs.insert(pairs.end(), {name, "v"});
  ASSERT_TRUE(writer.multi_set(pairs));
  ASSERT_EQ(writer.add("/n", 0), 0);
  // A list that nobody takes stands in nobody's way.
  RawClient lazy(server->port());
  lazy.set_receive_buffer(4096);
  lazy.send(kOpening + magic(kListKeys));
  std::thread listing([&] { EXPECT_EQ(lister.list_keys()->size(), 50'001u); });
  for (int index = 1; index <= 1000; ++index) EXPECT_EQ(other.add("/n", 1), index);
  listing.join();
  EXPECT_EQ(load_little<int64_t>(lazy.receive(8).data()), 50'001);
}

TEST(StoreServer, ANewGenerationIsEmptyAndClosesTheConnectionsOfTheOneBefore) {
  const auto server = start();
  auto stale = connect(*server);
  ASSERT_TRUE(stale.set("/k", "old"));
  ASSERT_TRUE(stale.check(std::vector<std::string_view>{"/k"}));
  RawClient silent(server->port()), parked(server->port());
  parked.send(kOpening + magic(kWait, {"/never"}) + magic(kKeyCount));
  EXPECT_EQ(parked.receive(8).size(), 8u);
  server->start_generation();
  EXPECT_EQ(server->statistics().keys_now, 0u);
  EXPECT_TRUE(parked.closed_within(seconds(5)));
  auto fresh = connect(*server);
  EXPECT_EQ(fresh.key_count(), 0);
  EXPECT_FALSE(stale.add("/k", 1));
  EXPECT_EQ(fresh.key_count(), 0);
  EXPECT_EQ(server->statistics().generation, 1u);
}

TEST(StoreServer, AConnectionMadeBeforeTheNewGenerationCannotSpeakInIt) {
  const auto server = start();
  RawClient quiet(server->port());  // the kernel has connected it; nothing is sent yet
  server->start_generation();
  quiet.send(kOpening + magic(kSet, {"/k", "stale"}) + magic(kKeyCount));
  EXPECT_TRUE(quiet.closed_within(seconds(5)));
  EXPECT_EQ(connect(*server).key_count(), 0);
}

// Whoever next asks for a large piece would join them all, while others wait.
TEST(StoreServer, FreedMemoryOfManyKeysIsNotLeftInSmallPieces) {
  const auto server = start();
  auto client = connect(*server);
  const std::string value(64, 'v');
  for (int key = 0; key < 2000; ++key) ASSERT_TRUE(client.set("key " + std::to_string(key), value));
  for (int key = 0; key < 2000; ++key)
    ASSERT_TRUE(client.erase("key " + std::to_string(key)).value_or(false));
  EXPECT_EQ(::mallinfo2().fsmblks, 0u);
}

TEST(StoreServer, ForeignConnectionsArePassedOnWithNothingRead) {
  StoreServer::Options options;
  std::mutex mutex;
  std::vector<UniqueFd> taken;
  options.foreign_magic = "MLA1";
  options.on_foreign = [&](UniqueFd socket) {
    const std::lock_guard lock(mutex);
    taken.push_back(std::move(socket));
  };
  const auto server = start(std::move(options));
  RawClient agent(server->port());
  agent.send("ML");
  auto rank = connect(*server);
  EXPECT_TRUE(rank.set("/k", "v"));
  agent.send("A1hello");
  ASSERT_TRUE(eventually([&] {
    const std::lock_guard lock(mutex);
    return taken.size() == 1;
  }));
  char bytes[16];
  ASSERT_TRUE(
      eventually([&] { return ::recv(taken[0].get(), bytes, sizeof(bytes), MSG_PEEK) == 9; }));
  EXPECT_EQ(std::string(bytes, 9), "MLA1hello");
  EXPECT_EQ(server->statistics().foreign, 1u);
}

TEST(StoreServer, HalfAForeignMagicThatNothingFollowsIsClosedAtOnce) {
  StoreServer::Options options;
  options.foreign_magic = "MLA1";
  options.on_foreign = [](UniqueFd) { ADD_FAILURE(); };
  const auto server = start(std::move(options));
  RawClient agent(server->port());
  agent.send("ML");
  agent.finish_sending();
  EXPECT_TRUE(agent.closed_within(seconds(5)));
}

/// An IPv4 address of this machine that is not loopback, or "".
std::string own_address() {
  ifaddrs* all = nullptr;
  if (::getifaddrs(&all) != 0) return "";
  const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> owner(all, &::freeifaddrs);
  for (const ifaddrs* at = all; at != nullptr; at = at->ifa_next) {
    if (at->ifa_addr == nullptr || at->ifa_addr->sa_family != AF_INET ||
        (at->ifa_flags & IFF_LOOPBACK) != 0)
      continue;
    char text[INET_ADDRSTRLEN];
    ::inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(at->ifa_addr)->sin_addr, text,
                sizeof(text));
    return text;
  }
  return "";
}

TEST(StoreServer, OnlyAdmittedAddressesSpeakToTheStoreButForeignOnesAreLetThrough) {
  const std::string outside = own_address();
  if (outside.empty()) GTEST_SKIP() << "this machine has no address but loopback";
  StoreServer::Options options;
  std::atomic<int> foreign{0};
  options.foreign_magic = "MLA1";
  options.on_foreign = [&](UniqueFd) { ++foreign; };
  options.bind_address = "0.0.0.0";
  const auto server = start(std::move(options));
  RawClient early(server->port(), outside.c_str());
  early.send(legacy(kAdd, {"init/"}, 1));
  EXPECT_EQ(early.receive(8).size(), 8u);

  server->admit_only({"192.0.2.1", "not an address"});
  EXPECT_TRUE(early.closed_within(seconds(5)));
  RawClient stranger(server->port(), outside.c_str()), agent(server->port(), outside.c_str());
  stranger.send(legacy(kAdd, {"init/"}, 1));
  EXPECT_TRUE(stranger.closed_within(seconds(5)));
  EXPECT_EQ(server->statistics().refused, 1u);
  agent.send("MLA1");
  EXPECT_TRUE(eventually([&] { return foreign == 1; }));
  EXPECT_TRUE(connect(*server).set("/k", "v"));  // loopback is always admitted

  server->admit_only({"::ffff:" + outside});
  RawClient rank(server->port(), outside.c_str());
  rank.send(legacy(kAdd, {"init/"}, 1));
  EXPECT_EQ(rank.receive(8), std::string("\2\0\0\0\0\0\0\0", 8));
}

TEST(StoreServer, TheThreadsEndWithConnectionsOpen) {
  auto server = start();
  RawClient silent(server->port()), half(server->port()), parked(server->port());
  half.send(std::string_view("\x00\xCE", 2));
  parked.send(legacy(kWait, {"/never"}));
  EXPECT_TRUE(eventually([&] { return server->statistics().operations == 1; }));
  server.reset();
  EXPECT_TRUE(parked.closed_within(seconds(5)));
  EXPECT_TRUE(half.closed_within(seconds(5)));
}

}  // namespace
}  // namespace megalaunch
