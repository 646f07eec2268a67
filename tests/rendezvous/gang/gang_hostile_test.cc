#include <gmock/gmock.h>

#include <array>
#include <random>

#include "tests/rendezvous/gang/gang_harness.h"

namespace megalaunch {
namespace {

using namespace std::chrono_literals;
using boost::asio::ip::tcp;
using nlohmann::json;
using testing::HasSubstr;

/// A server, and peers that do not keep to the format. After each test an honest agent still joins.
class GangHostile : public testing::Test {
 protected:
  GangHostile() { serve(2000ms); }
  ~GangHostile() override {
    const size_t before = server->members.size();
    TestClient honest(context, client_options(server->port()));
    honest.connect();
    EXPECT_TRUE(run_until(context, [&] {
      return honest.welcome && server->members.size() > before;
    })) << "an honest agent cannot join any more";
  }

  void serve(milliseconds heartbeat) {
    server.emplace(context, GangServer::Options{"1", "job", "", heartbeat, 500ms});
  }
  static GangClient::Options client_options(uint16_t port, milliseconds heartbeat = 2000ms) {
    return {"127.0.0.1", port, "1", "job", "", 20s, heartbeat};
  }
  RawPeer peer() { return RawPeer(context, server->port()); }
  template <class Done>
  bool until(Done done) {
    return run_until(context, done);
  }
  bool lost_one() {
    return until([&] { return server->lost.size() == 1; });
  }

  boost::asio::io_context context;
  std::optional<TestServer> server;
};

TEST_F(GangHostile, AFrameBeyondTheLimitBeforeTheProofIsRefused) {
  auto raw = peer();
  raw.send_bytes(kGangMagic);
  raw.send_bytes(std::string("\x01\x00\x01\x00", 4));  // 64 KiB and one byte
  const json answer = raw.receive();
  EXPECT_EQ(answer["type"], "refuse");
  EXPECT_THAT(answer["reason"].get<std::string>(), HasSubstr("65537 bytes"));
  EXPECT_EQ(raw.receive(), nullptr);
}

TEST_F(GangHostile, AFrameBeyondTheLimitAfterTheProofLosesTheMember) {
  auto raw = peer();
  raw.join();
  raw.send_bytes(std::string("\x01\x00\x00\x01", 4));  // 16 MiB and one byte
  ASSERT_TRUE(lost_one());
  EXPECT_THAT(server->why_lost, HasSubstr("16777217 bytes, the limit is 16777216"));
}

TEST_F(GangHostile, RandomBytesAreRefused) {
  std::mt19937 random(1);
  for (int i = 0; i < 50; ++i) {
    auto raw = peer();
    raw.send_bytes(kGangMagic);
    std::string bytes(1 + random() % 2000, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random());
    raw.send_bytes(bytes);
    raw.socket().shutdown(tcp::socket::shutdown_send);
    EXPECT_NE(raw.receive()["type"], "challenge");
  }
  EXPECT_TRUE(server->members.empty());
}

TEST_F(GangHostile, AHelloOfWrongTypesIsRefusedAndNoBug) {
  const json bad[] = {{{"protocol", "1"}}, {{"protocol", 1e300}}, {{"version", 7}},
                      {{"job", nullptr}},  {{"keyed", "yes"}},    {{"type", "join"}}};
  for (const json& changes : bad) {
    auto raw = peer();
    raw.hello("aa", changes);
    const json answer = raw.receive();
    // A "keyed" that is no boolean is none.
    EXPECT_EQ(answer["type"], changes.contains("keyed") ? "challenge" : "refuse") << changes;
  }
  EXPECT_THAT(server->log(), testing::Not(HasSubstr("failed")));
}

TEST_F(GangHostile, AFrameThatIsNoObjectWithATypeIsRefused) {
  for (const char* text : {"", "[]", "null", "{}", "{\"type\":1}", "{\"type\":\"hello\"", "\xff"}) {
    auto raw = peer();
    raw.send_bytes(kGangMagic);
    raw.send_bytes(encode_frame(text));
    EXPECT_EQ(raw.receive()["type"], "refuse") << text;
  }
}

TEST_F(GangHostile, DeeplyNestedJsonIsRefusedAndCostsNoStack) {
  auto raw = peer();
  raw.send_bytes(kGangMagic);
  raw.send_bytes(encode_frame(std::string(60'000, '[')));
  EXPECT_EQ(raw.receive()["type"], "refuse");
}

TEST_F(GangHostile, DetailsThatAreNoObjectAreRefused) {
  for (const char* details : {"", "[]", "{", "7"}) {
    auto raw = peer();
    raw.hello();
    raw.receive();
    raw.send({{"type", "join"}, {"details", details}, {"proof", ""}});
    EXPECT_EQ(raw.receive()["type"], "refuse") << details;
  }
  EXPECT_TRUE(server->joins.empty());
}

TEST_F(GangHostile, AMemberThatPingsNonsenseIsStillHeardAndMissed) {
  auto raw = peer();
  raw.join();
  for (const json& sent : {json("now"), json(1e300), json(nullptr), json(-5), json(~0ull)}) {
    raw.send({{"type", "ping"}, {"sent", sent}});
    EXPECT_EQ(raw.receive()["type"], "pong") << sent;
  }
  raw.send({{"type", "news"}});
  ASSERT_TRUE(until([&] { return server->messages.size() == 1; }));
  raw.socket().close();
  EXPECT_TRUE(lost_one());
}

TEST_F(GangHostile, ANode0ThatPongsNonsenseIsStillMissed) {
  tcp::acceptor acceptor(context, {boost::asio::ip::address_v4::loopback(), 0});
  TestClient client(context, client_options(acceptor.local_endpoint().port()));
  client.connect();
  std::optional<tcp::socket> accepted;
  acceptor.async_accept([&](const boost::system::error_code&, tcp::socket socket) {
    accepted.emplace(std::move(socket));
  });
  ASSERT_TRUE(until([&] { return accepted.has_value(); }));
  RawPeer node0(context, std::move(*accepted));
  std::array<char, 4> magic{};
  boost::asio::read(node0.socket(), boost::asio::buffer(magic));
  EXPECT_EQ(node0.receive()["type"], "hello");
  node0.send({{"type", "challenge"}, {"nonce", "bb"}, {"keyed", false}, {"proof", ""}});
  EXPECT_EQ(node0.receive()["type"], "join");
  node0.send({{"type", "welcome"}});
  EXPECT_EQ(node0.receive()["type"], "ping");
  const auto least = std::numeric_limits<int64_t>::min();
  for (const json& time : {json("now"), json(1e300), json(least), json(nullptr)})
    node0.send({{"type", "pong"}, {"sent", time}, {"now", time}});
  node0.send({{"type", "order"}});
  ASSERT_TRUE(until([&] { return client.messages.size() == 1; }));
  EXPECT_EQ(client.client->clock_offset(), std::nullopt);
  node0.socket().close();
  EXPECT_TRUE(until([&] { return client.lost.has_value(); }));
}

TEST_F(GangHostile, AMemberThatFallsSilentIsLostAfterTheHeartbeatTimeOut) {
  serve(200ms);
  auto raw = peer();
  raw.join();
  ASSERT_TRUE(lost_one());
  EXPECT_EQ(server->why_lost, "nothing was heard for 200 ms");
}

TEST_F(GangHostile, ANode0ThatFallsSilentIsLostAfterTheHeartbeatTimeOut) {
  // It reads and answers nothing: the accepted socket just lies there after the welcome.
  tcp::acceptor acceptor(context, {boost::asio::ip::address_v4::loopback(), 0});
  TestClient client(context, client_options(acceptor.local_endpoint().port(), 200ms));
  client.connect();
  std::optional<RawPeer> node0;
  acceptor.async_accept([&](const boost::system::error_code&, tcp::socket socket) {
    node0.emplace(context, std::move(socket));
  });
  ASSERT_TRUE(until([&] { return node0.has_value(); }));
  node0->send({{"type", "challenge"}, {"nonce", "bb"}, {"keyed", false}, {"proof", ""}});
  node0->send({{"type", "welcome"}});
  ASSERT_TRUE(until([&] { return client.lost.has_value(); }));
  EXPECT_EQ(*client.lost, "nothing was heard for 200 ms");
}

TEST_F(GangHostile, APauseOfOurOwnDoesNotCostAMemberThatSpokeMeanwhile) {
  serve(300ms);
  auto raw = peer();
  raw.join();
  raw.send({{"type", "news"}});
  std::this_thread::sleep_for(400ms);  // the process was held up: time-out and message are both due
  context.restart();
  context.poll();
  context.restart();
  context.poll();
  EXPECT_EQ(server->messages.size(), 1u);
  EXPECT_TRUE(server->lost.empty()) << server->why_lost;
}

TEST_F(GangHostile, AHalfOpenConnectionEndsWithTheHandshakesPatienceHoweverItDribbles) {
  auto raw = peer();
  raw.send_bytes(kGangMagic);
  raw.send_bytes(std::string("\x60\xEA\x00\x00", 4));  // a frame of 60,000 bytes, which come slowly
  raw.socket().non_blocking(true);
  const auto closed = [&] {
    raw.send_bytes("x");
    boost::system::error_code error;
    char byte;
    raw.socket().read_some(boost::asio::buffer(&byte, 1), error);
    return error != boost::asio::error::would_block;
  };
  EXPECT_TRUE(run_until(context, closed, 5s));
}

TEST_F(GangHostile, TheServersEndClosesConnectionsThatAreStillInTheHandshake) {
  TestServer patient(context, {"1", "job", "", 2000ms, 600'000ms});
  RawPeer raw(context, patient.port());
  raw.hello();
  EXPECT_EQ(raw.receive()["type"], "challenge");
  patient.server.reset();
  EXPECT_EQ(raw.receive(), nullptr);
}

TEST_F(GangHostile, PeersMayCloseAtEveryStepOfTheHandshake) {
  std::string whole(kGangMagic);
  whole += encode_frame(json{
      {"type", "hello"},
      {"protocol", kGangProtocol},
      {"version", "1"},
      {"job", "job"},
      {"nonce", "aa"},
      {"keyed", false}}.dump());
  whole += encode_frame(json{{"type", "join"}, {"details", "{}"}, {"proof", ""}}.dump());
  for (size_t cut = 0; cut <= whole.size(); ++cut) {
    auto raw = peer();
    raw.send_bytes(std::string_view(whole).substr(0, cut));
    raw.socket().close();
    context.restart();
    context.poll();
  }
  EXPECT_TRUE(until([&] { return server->lost.size() == server->members.size(); }));
}

TEST_F(GangHostile, TenThousandConnectionsThatAreResetLeaveNothingBehind) {
  const auto open_now = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
  };
  const auto before = open_now();
  for (int i = 0; i < 10'000; ++i) {
    auto raw = peer();
    if (i % 3 != 0) raw.send_bytes(kGangMagic);
    if (i % 3 == 2) raw.hello();
    raw.socket().set_option(boost::asio::socket_base::linger(true, 0));
    raw.socket().close();
    context.restart();
    context.poll();
  }
  EXPECT_TRUE(until([&] { return open_now() <= before + 1; })) << open_now() - before;
}

TEST_F(GangHostile, AMemberThatNeverReadsIsCutOffBeforeItCostsTheMemory) {
  auto raw = peer();
  raw.join();
  const std::string text(1 << 20, 'x');
  for (int i = 0; i < 100; ++i)
    server->server->send(server->members[0], {{"type", "t"}, {"x", text}});
  EXPECT_TRUE(lost_one());
}

}  // namespace
}  // namespace megalaunch
