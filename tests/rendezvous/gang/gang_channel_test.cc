#include <gmock/gmock.h>

#include <array>

#include "tests/rendezvous/gang/gang_harness.h"

namespace megalaunch {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using testing::HasSubstr;

/// Both ends in one context, over loopback sockets.
class GangChannel : public testing::Test {
 protected:
  static GangServer::Options server_options(const std::string& key = "") {
    return {"1", "job", key, 2000ms};
  }
  GangClient::Options client_options(const std::string& key = "") {
    return {"127.0.0.1", server ? server->port() : uint16_t{1}, "1", "job", key, 20s, 2000ms};
  }
  void serve(GangServer::Options options = server_options()) { server.emplace(context, options); }
  TestClient& connect(GangClient::Options options) {
    client.emplace(context, std::move(options));
    client->connect();
    return *client;
  }
  void join() {
    serve();
    connect(client_options());
    ASSERT_TRUE(until([&] { return client->welcome && server->members.size() == 1; }));
  }
  template <class Done>
  bool until(Done done) {
    return run_until(context, done);
  }
  /// What a client with these options is refused with.
  std::string refusal_of(GangClient::Options options) {
    connect(std::move(options));
    EXPECT_TRUE(until([&] { return client->refused.has_value(); }));
    EXPECT_FALSE(client->welcome);
    EXPECT_TRUE(server->members.empty());
    return client->refused.value_or("");
  }

  boost::asio::io_context context;
  std::optional<TestServer> server;
  std::optional<TestClient> client;
};

// --- joining

TEST_F(GangChannel, AnAgentJoinsAndIsWelcomed) {
  serve();
  client.emplace(context, client_options());
  client->client->connect({{"host", "worker"}, {"ranks", 8}});
  ASSERT_TRUE(until([&] { return client->welcome && server->members.size() == 1; }));
  EXPECT_EQ((*client->welcome)["node_rank"], 1);
  EXPECT_EQ(server->joins[0], (json{{"host", "worker"}, {"ranks", 8}}));
  EXPECT_EQ(server->addresses[0], "127.0.0.1");
}

TEST_F(GangChannel, WithTheSameKeyOnBothSidesTheyTrustEachOther) {
  serve(server_options("secret"));
  connect(client_options("secret"));
  EXPECT_TRUE(until([&] { return client->welcome.has_value(); }));
}

TEST_F(GangChannel, MessagesArriveInOrderBothWays) {
  join();
  for (int i = 0; i < 2000; ++i) {
    client->client->send({{"type", "news"}, {"number", i}});
    server->server->send(server->members[0], {{"type", "order"}, {"number", i}});
  }
  ASSERT_TRUE(
      until([&] { return server->messages.size() == 2000 && client->messages.size() == 2000; }));
  for (size_t i = 0; i < 2000; ++i) {
    EXPECT_EQ(server->messages[i]["number"], i);
    EXPECT_EQ(client->messages[i]["number"], i);
  }
}

TEST_F(GangChannel, ALargeMessagePassesOnceThePeerIsTrusted) {
  join();
  const std::string text(8 << 20, 'x');
  client->client->send({{"type", "news"}, {"text", text}});
  server->server->send(server->members[0], {{"type", "order"}, {"text", text}});
  ASSERT_TRUE(until([&] { return server->messages.size() == 1 && client->messages.size() == 1; }));
  EXPECT_EQ(server->messages[0]["text"], text);
  EXPECT_EQ(client->messages[0]["text"], text);
}

TEST_F(GangChannel, BytesThatAreNoTextAreReplacedAndNotFatal) {
  join();
  client->client->send({{"type", "news"}, {"text", "a\xff\xfe b"}});
  ASSERT_TRUE(until([&] { return server->messages.size() == 1; }));
  EXPECT_THAT(server->messages[0]["text"].get<std::string>(), HasSubstr(" b"));
}

TEST_F(GangChannel, HeartbeatsMeasureTheClockOffset) {
  join();
  ASSERT_TRUE(until([&] { return client->client->clock_offset().has_value(); }));
  const auto estimate = *client->client->clock_offset();
  EXPECT_LE(std::chrono::abs(estimate.offset), estimate.error) << "it is the same clock";
}

TEST_F(GangChannel, ADismissedMemberHearsTheLastMessageAndIsGoneWhenItHasClosed) {
  join();
  server->server->dismiss(server->members[0], {{"type", "end"}}, 60s);
  EXPECT_TRUE(server->lost.empty());
  ASSERT_TRUE(until([&] { return !server->lost.empty(); }));
  EXPECT_TRUE(client->lost.has_value());
  ASSERT_EQ(client->messages.size(), 1u);
  EXPECT_EQ(client->messages[0]["type"], "end");
}

TEST_F(GangChannel, WhatIsSaidBeforeTheWelcomeIsDropped) {
  serve();
  connect(client_options());
  // In every state on the way to the welcome.
  while (!client->welcome) {
    client->client->send({{"type", "interrupted"}});
    context.restart();
    context.run_one_for(10ms);
    ASSERT_FALSE(client->refused) << *client->refused;
  }
  client->client->send({{"type", "after"}});
  ASSERT_TRUE(until([&] { return !server->messages.empty(); }));
  EXPECT_EQ(server->messages[0]["type"], "after");
}

// --- refusals

TEST_F(GangChannel, AnotherJobIsRefusedByName) {
  serve();
  auto options = client_options();
  options.job = "other";
  EXPECT_THAT(refusal_of(options), HasSubstr("it belongs to job 'other', node 0 runs job 'job'"));
}

TEST_F(GangChannel, AnotherVersionIsRefusedWithBothNumbers) {
  serve();
  auto options = client_options();
  options.version = "2";
  EXPECT_THAT(refusal_of(options), HasSubstr("it is megalaunch 2 (channel 1), node 0 is 1"));
}

TEST_F(GangChannel, AKeyOnOneSideOnlyIsRefused) {
  serve();
  EXPECT_THAT(refusal_of(client_options("secret")), HasSubstr("it has a job key, node 0 has none"));
  server.reset();
  serve(server_options("secret"));
  EXPECT_THAT(refusal_of(client_options()), HasSubstr("it has no job key, node 0 has one"));
}

TEST_F(GangChannel, AnotherKeyIsNoticedByTheAgentWhichSaysSoToNode0) {
  serve(server_options("one"));
  EXPECT_THAT(refusal_of(client_options("two")), HasSubstr("node 0 has another job key"));
  ASSERT_TRUE(until([&] { return !server->log_lines.empty(); }));
  EXPECT_THAT(server->log(), HasSubstr("it refuses us: node 0 has another job key"));
}

TEST_F(GangChannel, AnAgentThatCannotProveTheKeyIsRefused) {
  serve(server_options("secret"));
  RawPeer peer(context, server->port());
  peer.hello("aa", {{"keyed", true}});
  const json challenge = peer.receive();
  EXPECT_EQ(challenge["proof"],
            leader_proof("secret", "aa", challenge["nonce"].get<std::string>(), "job"));
  peer.send({{"type", "join"},
             {"details", "{}"},
             {"proof", agent_proof("guess", challenge["nonce"].get<std::string>(), "aa", "{}")}});
  const json answer = peer.receive();
  EXPECT_EQ(answer["type"], "refuse");
  EXPECT_EQ(answer["final"], true);
  EXPECT_THAT(answer["reason"].get<std::string>(), HasSubstr("its job key is another one"));
}

TEST_F(GangChannel, AProofCannotBeReplayed) {
  serve(server_options("secret"));
  json join;
  {
    RawPeer peer(context, server->port());
    peer.hello("aa", {{"keyed", true}});
    const json challenge = peer.receive();
    join = {{"type", "join"},
            {"details", "{}"},
            {"proof", agent_proof("secret", challenge["nonce"].get<std::string>(), "aa", "{}")}};
    peer.send(join);
    EXPECT_EQ(peer.receive()["type"], "welcome");
  }
  RawPeer eavesdropper(context, server->port());
  eavesdropper.hello("aa", {{"keyed", true}});
  eavesdropper.receive();
  eavesdropper.send(join);
  EXPECT_EQ(eavesdropper.receive()["type"], "refuse");
  // Nor can node 0's own proof be sent back as an agent's.
  RawPeer mirror(context, server->port());
  mirror.hello("aa", {{"keyed", true}});
  const json challenge = mirror.receive();
  mirror.send({{"type", "join"}, {"details", "job"}, {"proof", challenge["proof"]}});
  EXPECT_EQ(mirror.receive()["type"], "refuse");
}

TEST_F(GangChannel, TheCoordinatorsRefusalReachesTheAgent) {
  serve();
  server->refuse_joins = true;
  EXPECT_EQ(refusal_of(client_options()), "no");
}

TEST_F(GangChannel, AnAgentThatMayTryAgainDoes) {
  serve();
  server->busy_joins = 2;
  connect(client_options());
  ASSERT_TRUE(until([&] { return client->welcome.has_value(); }));
  EXPECT_EQ(server->joins.size(), 3u);
}

// --- finding node 0

TEST_F(GangChannel, AServerThatAppearsLateIsFound) {
  uint16_t port = 0;
  {
    boost::asio::ip::tcp::acceptor reserve(context, {boost::asio::ip::address_v4::loopback(), 0});
    port = reserve.local_endpoint().port();
  }
  auto options = client_options();
  options.port = port;
  connect(options);
  context.run_for(200ms);  // refused a few times
  EXPECT_FALSE(client->welcome || client->unreachable || client->refused);
  server.emplace(context, server_options(), port);
  EXPECT_TRUE(until([&] { return client->welcome.has_value(); }));
}

TEST_F(GangChannel, GivesUpAtTheJoinTimeOutAndSaysWhatItTriedLast) {
  auto options = client_options();
  options.join_timeout = 200ms;
  connect(options);
  ASSERT_TRUE(until([&] { return client->unreachable.has_value(); }));
  EXPECT_THAT(*client->unreachable, HasSubstr("fails: Connection refused"));
}

TEST_F(GangChannel, ANameThatDoesNotResolveIsTriedAgainUntilTheTimeOut) {
  auto options = client_options();
  options.host = "no-such-host.invalid";
  options.join_timeout = 300ms;
  connect(options);
  ASSERT_TRUE(until([&] { return client->unreachable.has_value(); }));
  EXPECT_THAT(*client->unreachable, HasSubstr("'no-such-host.invalid' does not resolve"));
}

TEST_F(GangChannel, AfterALossItKnocksUntilNode0IsBack) {
  join();
  const uint16_t port = server->port();
  server.reset();
  ASSERT_TRUE(until([&] { return client->lost.has_value(); }));
  client->connect();
  context.run_for(100ms);
  server.emplace(context, server_options(), port);
  EXPECT_TRUE(until([&] { return client->welcomes == 2; }));
}

TEST_F(GangChannel, AfterCloseNothingIsHeardAnyMore) {
  join();
  client->client->close();
  ASSERT_TRUE(until([&] { return server->lost.size() == 1; }));
  EXPECT_FALSE(client->lost || client->refused || client->unreachable);
}

}  // namespace
}  // namespace megalaunch
