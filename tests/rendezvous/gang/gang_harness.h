#pragma once

#include <gtest/gtest.h>

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "rendezvous/gang/frame.h"
#include "rendezvous/gang/gang_client.h"
#include "rendezvous/gang/gang_server.h"
#include "rendezvous/gang/proof.h"
#include "tests/lib/processes.h"

namespace megalaunch {

/// Node 0's end of the channel behind a listening socket, with what it heard.
class TestServer {
 public:
  using tcp = boost::asio::ip::tcp;

  TestServer(boost::asio::io_context& context, GangServer::Options options, uint16_t port = 0)
      : acceptor_(context, {boost::asio::ip::address_v4::loopback(), port}) {
    GangServer::Events events;
    events.on_join = [this](GangServer::MemberId, const nlohmann::json& details,
                            const std::string& address) -> Result<nlohmann::json> {
      joins.push_back(details);
      addresses.push_back(address);
      if (refuse_joins) return fail(Error::Kind::kRefused, "no");
      if (busy_joins > 0 && busy_joins-- > 0) return fail(Error::Kind::kUnavailable, "not yet");
      return welcome.value_or(nlohmann::json{{"node_rank", joins.size()}});
    };
    events.on_joined = [this](GangServer::MemberId id) { members.push_back(id); };
    events.on_message = [this](GangServer::MemberId, const nlohmann::json& message) {
      messages.push_back(message);
    };
    events.on_lost = [this](GangServer::MemberId id, const std::string& why) {
      lost.insert(id);
      why_lost = why;
    };
    Log log = Log::to_function(
        [this](Log::Level, std::string_view line) { log_lines.emplace_back(line); });
    server.emplace(context, std::move(options), std::move(log), std::move(events));
    accept();
  }

  uint16_t port() const { return acceptor_.local_endpoint().port(); }
  std::string log() const {
    std::string text;
    for (const std::string& line : log_lines) text += line + '\n';
    return text;
  }

  bool refuse_joins = false;
  int busy_joins = 0;
  std::optional<nlohmann::json> welcome;
  std::vector<nlohmann::json> joins;
  std::vector<std::string> addresses;
  std::vector<GangServer::MemberId> members;
  std::vector<nlohmann::json> messages;
  std::set<GangServer::MemberId> lost;
  std::string why_lost;
  std::vector<std::string> log_lines;
  std::optional<GangServer> server;

 private:
  void accept() {
    acceptor_.async_accept([this](const boost::system::error_code& error, tcp::socket socket) {
      if (error) return;
      boost::system::error_code ignored;
      server->adopt(UniqueFd(socket.release(ignored)));
      accept();
    });
  }
  tcp::acceptor acceptor_;
};

/// An agent's end, with what it heard.
class TestClient {
 public:
  TestClient(boost::asio::io_context& context, GangClient::Options options) {
    GangClient::Events events;
    events.on_welcome = [this](const nlohmann::json& message) {
      welcome = message;
      ++welcomes;
    };
    events.on_message = [this](const nlohmann::json& message) { messages.push_back(message); };
    events.on_refused = [this](const std::string& reason) { refused = reason; };
    events.on_unreachable = [this](const std::string& why) { unreachable = why; };
    events.on_lost = [this](const std::string& why) { lost = why; };
    client.emplace(context, std::move(options), Log::to_nowhere(), std::move(events));
  }
  void connect() { client->connect({{"host", "h"}}); }

  std::optional<nlohmann::json> welcome;
  int welcomes = 0;
  std::vector<nlohmann::json> messages;
  std::optional<std::string> refused, unreachable, lost;
  std::optional<GangClient> client;
};

/// A peer that says what a test wants.
class RawPeer {
 public:
  using tcp = boost::asio::ip::tcp;
  RawPeer(boost::asio::io_context& context, uint16_t port) : context_(context), socket_(context) {
    socket_.connect({boost::asio::ip::address_v4::loopback(), port});
  }
  RawPeer(boost::asio::io_context& context, tcp::socket socket)
      : context_(context), socket_(std::move(socket)) {}

  void send_bytes(std::string_view bytes) {
    boost::system::error_code ignored;
    boost::asio::write(socket_, boost::asio::buffer(bytes), ignored);
  }
  void send(const nlohmann::json& message) { send_bytes(encode_frame(message.dump())); }
  void hello(const std::string& nonce = "aa", nlohmann::json changes = nlohmann::json::object()) {
    send_bytes(kGangMagic);
    nlohmann::json message{{"type", "hello"}, {"protocol", kGangProtocol},
                           {"version", "1"},  {"job", "job"},
                           {"nonce", nonce},  {"keyed", false}};
    message.update(changes);
    send(message);
  }
  /// The next message; a null when the other side closes instead.
  nlohmann::json receive() {
    std::optional<boost::system::error_code> failure;
    std::optional<std::string> payload;
    for (;;) {
      if (auto next = reader_.next(); next && next->has_value())
        return nlohmann::json::parse(**next);
      bool done = false;
      socket_.async_read_some(boost::asio::buffer(buffer_),
                              [&](const boost::system::error_code& error, size_t count) {
                                if (error) failure = error;
                                reader_.feed(std::string_view(buffer_.data(), count));
                                done = true;
                              });
      EXPECT_TRUE(run_until(context_, [&] { return done; })) << "the other side says nothing";
      if (!done || failure) return nullptr;
    }
  }
  /// Joins an open gang.
  void join() {
    hello();
    EXPECT_EQ(receive()["type"], "challenge");
    send({{"type", "join"}, {"details", "{}"}, {"proof", ""}});
    EXPECT_EQ(receive()["type"], "welcome");
  }
  tcp::socket& socket() { return socket_; }

 private:
  boost::asio::io_context& context_;
  tcp::socket socket_;
  FrameReader reader_;
  std::array<char, 8192> buffer_{};
};

}  // namespace megalaunch
