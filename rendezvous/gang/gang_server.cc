#include "rendezvous/gang/gang_server.h"

#include <sys/socket.h>

#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <exception>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "rendezvous/gang/gang_connection.h"
#include "rendezvous/gang/message_fields.h"
#include "rendezvous/gang/proof.h"

namespace megalaunch {
namespace {

namespace asio = boost::asio;
using nlohmann::json;
using ConnectionPtr = std::shared_ptr<GangConnection>;

constexpr seconds kTellRefusalEvery{30};
/// Connections that have not proved themselves yet, at a time. One too many is closed, and knocks
/// again if it is an agent.
constexpr size_t kMaxStrangers = 4096;

json refusal(std::string_view reason, bool final_word) {
  return {{"type", "refuse"}, {"reason", reason}, {"final", final_word}};
}

}  // namespace

struct GangServer::State : std::enable_shared_from_this<State> {
  State(asio::io_context& io, Options options_value, Log log_value, Events events_value)
      : context(io),
        options(std::move(options_value)),
        log(std::move(log_value)),
        events(std::move(events_value)) {}

  void adopt(UniqueFd fd) {
    if (strangers.size() >= kMaxStrangers) return;
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    if (::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) return;
    boost::system::error_code error;
    asio::ip::tcp::socket socket(context);
    socket.assign(address.ss_family == AF_INET6 ? asio::ip::tcp::v6() : asio::ip::tcp::v4(),
                  fd.get(), error);
    if (error) return;
    fd.release();
    asio::co_spawn(context,
                   serve(shared_from_this(), std::make_shared<GangConnection>(std::move(socket))),
                   [log = log](const std::exception_ptr& failure) {
                     if (!failure) return;
                     try {
                       std::rethrow_exception(failure);
                     } catch (const std::exception& bug) {
                       log.error("gang: serving an agent failed: {}", bug.what());
                     }
                   });
  }

  /// The life of one connection.
  static asio::awaitable<void> serve(std::shared_ptr<State> self, ConnectionPtr connection) {
    connection->set_handshake_deadline(std::chrono::steady_clock::now() +
                                       self->options.handshake_timeout);
    self->strangers.insert(connection);
    const auto details = co_await shake_hands(self, connection);
    self->strangers.erase(connection);
    if (!details) {
      self->tell_refusal(*connection, details.error().message);
      // A peer that fell silent or away may be a good one behind a bad network.
      const bool final_word = details.error().kind == Error::Kind::kRefused ||
                              details.error().kind == Error::Kind::kProtocol;
      connection->send_last(refusal(details.error().message, final_word));
      co_return;
    }
    const MemberId id = ++self->last_id;
    auto welcome = self->events.on_join
                       ? self->events.on_join(id, *details, connection->peer_address())
                       : Result<json>(fail(Error::Kind::kUnavailable, "node 0 is shutting down"));
    if (!welcome) {
      self->tell_refusal(*connection, welcome.error().message);
      connection->send_last(
          refusal(welcome.error().message, welcome.error().kind != Error::Kind::kUnavailable));
      co_return;
    }
    connection->trust_peer();
    (*welcome)["type"] = "welcome";
    connection->send(*welcome);
    self->members[id] = connection;
    if (self->events.on_joined) self->events.on_joined(id);
    const std::string why = co_await listen(self, connection, id);
    connection->close();
    if (self->members.erase(id) > 0 && self->events.on_lost) self->events.on_lost(id, why);
  }

  /// An agent that is refused may knock again and again; the same words are said once in a while.
  void tell_refusal(const GangConnection& connection, const std::string& reason) {
    const std::string text =
        fmt::format("refused an agent at {}: {}", connection.peer_address(), reason);
    const auto now = std::chrono::steady_clock::now();
    if (text == last_refusal && now - last_refusal_told < kTellRefusalEvery) return;
    last_refusal = text;
    last_refusal_told = now;
    log.warn("{}", text);
  }

  static asio::awaitable<Result<json>> shake_hands(std::shared_ptr<State> self,
                                                   ConnectionPtr connection) {
    auto hello = co_await connection->receive_after_magic(self->options.handshake_timeout);
    if (!hello) co_return fail(std::move(hello).error());
    const Options& ours = self->options;
    if (text_field(*hello, "type") != "hello")
      co_return fail(Error::Kind::kProtocol, "its first message is not a hello");
    if (number_field(*hello, "protocol") != kGangProtocol ||
        text_field(*hello, "version") != ours.version)
      co_return fail(Error::Kind::kRefused,
                     "it is megalaunch {} (channel {}), node 0 is {} (channel {}); install the "
                     "same version on all nodes",
                     text_field(*hello, "version"), number_field(*hello, "protocol"), ours.version,
                     kGangProtocol);
    if (text_field(*hello, "job") != ours.job)
      co_return fail(Error::Kind::kRefused,
                     "it belongs to job '{}', node 0 runs job '{}'; check MASTER_ADDR, MASTER_PORT "
                     "and the job's name",
                     text_field(*hello, "job"), ours.job);
    const bool keyed = flag_field(*hello, "keyed");
    if (keyed != !ours.key.empty())
      co_return fail(Error::Kind::kRefused,
                     "it has {} job key, node 0 has {}; give all nodes the same MEGALAUNCH_JOB_KEY "
                     "or key file, or none",
                     keyed ? "a" : "no", keyed ? "none" : "one");
    const std::string agent_nonce = text_field(*hello, "nonce");
    const std::string leader_nonce = fresh_nonce();
    connection->send({{"type", "challenge"},
                      {"nonce", leader_nonce},
                      {"keyed", !ours.key.empty()},
                      {"proof", leader_proof(ours.key, agent_nonce, leader_nonce, ours.job)}});
    auto join = co_await connection->receive(ours.handshake_timeout);
    if (!join) co_return fail(std::move(join).error());
    if (text_field(*join, "type") == "refuse")
      co_return fail(Error::Kind::kRefused, "it refuses us: {}", text_field(*join, "reason"));
    const std::string details = text_field(*join, "details");
    if (text_field(*join, "type") != "join" ||
        !same_proof(text_field(*join, "proof"),
                    agent_proof(ours.key, leader_nonce, agent_nonce, details)))
      co_return fail(
          Error::Kind::kRefused,
          "its job key is another one; give all nodes the same MEGALAUNCH_JOB_KEY or key file");
    auto parsed = json::parse(details, nullptr, false);
    if (!parsed.is_object())
      co_return fail(Error::Kind::kProtocol, "its join message has no details");
    co_return parsed;
  }

  /// Passes messages on until the member is gone; returns why.
  static asio::awaitable<std::string> listen(std::shared_ptr<State> self, ConnectionPtr connection,
                                             MemberId id) {
    for (;;) {
      const auto message = co_await connection->receive(self->options.heartbeat_timeout);
      if (!message) co_return message.error().message;
      if (text_field(*message, "type") == "ping") {
        const auto now = std::chrono::system_clock::now().time_since_epoch();
        connection->send({{"type", "pong"},
                          {"sent", number_field(*message, "sent")},
                          {"now", std::chrono::duration_cast<nanoseconds>(now).count()}});
      } else if (self->events.on_message) {
        self->events.on_message(id, *message);
      }
    }
  }

  asio::io_context& context;
  Options options;
  Log log;
  Events events;
  std::set<ConnectionPtr> strangers;  ///< still in the handshake
  MemberId last_id = 0;
  std::string last_refusal;
  SteadyTime last_refusal_told{};
  std::map<MemberId, ConnectionPtr> members;
};

GangServer::GangServer(asio::io_context& context, Options options, Log log, Events events)
    : state_(std::make_shared<State>(context, std::move(options), std::move(log),
                                     std::move(events))) {}

GangServer::~GangServer() {
  state_->events = {};
  for (const auto& [id, connection] : std::exchange(state_->members, {})) connection->close();
  for (const auto& connection : std::exchange(state_->strangers, {})) connection->close();
}

void GangServer::adopt(UniqueFd socket) {
  asio::post(state_->context,
             [state = state_, fd = socket.release()] { state->adopt(UniqueFd(fd)); });
}

void GangServer::send(MemberId member, const json& message) {
  const auto found = state_->members.find(member);
  if (found != state_->members.end()) found->second->send(message);
}

void GangServer::dismiss(MemberId member, const json& message, milliseconds patience) {
  const auto found = state_->members.find(member);
  if (found == state_->members.end()) return;
  found->second->send_last(message, patience);
}

}  // namespace megalaunch
