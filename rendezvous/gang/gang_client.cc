#include "rendezvous/gang/gang_client.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <nlohmann/json.hpp>

#include "rendezvous/gang/dialer.h"
#include "rendezvous/gang/gang_connection.h"
#include "rendezvous/gang/message_fields.h"
#include "rendezvous/gang/name_lookup.h"
#include "rendezvous/gang/proof.h"

namespace megalaunch {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using nlohmann::json;
constexpr auto use_result = asio::as_tuple(asio::use_awaitable);

constexpr milliseconds kFirstRetry{50};
constexpr milliseconds kLongestRetry{500};
// For one address. While a cable is cut the kernel repeats its SYN after 1, 3, 7 s: a new
// connection every two seconds asks each second, and finds node 0 soon after the cable is back.
constexpr seconds kConnectPatience{2};
constexpr seconds kResolvePatience{10};
constexpr seconds kHandshakePatience{10};
constexpr seconds kTellEvery{10};
constexpr seconds kSecondLook{1};
/// Error::code of a refusal that may end: node 0 is there, but does not want us now.
constexpr int kRefusedForNow = 1;

/// Nothing when it is missing, no integer, or no time since 1970.
std::optional<int64_t> time_field(const json& message, const char* name) {
  const auto found = message.find(name);
  if (found == message.end() || !found->is_number_integer()) return std::nullopt;
  const auto nanos = found->get<int64_t>();
  return nanos >= 0 ? std::optional(nanos) : std::nullopt;
}

int64_t nanoseconds_of(WallTime time) {
  return std::chrono::duration_cast<nanoseconds>(time.time_since_epoch()).count();
}

WallTime wall_time(int64_t nanos) {
  return WallTime(std::chrono::duration_cast<WallTime::duration>(nanoseconds(nanos)));
}

}  // namespace

struct GangClient::State : std::enable_shared_from_this<State> {
  State(asio::io_context& io, Options options_value, Log log_value, Events events_value)
      : context(io),
        options(std::move(options_value)),
        log(std::move(log_value)),
        events(std::move(events_value)),
        retry_timer(io),
        heartbeat_timer(io),
        lookup(io),
        dialer(io, kConnectPatience) {}

  void connect(json details) {
    const uint64_t attempt = ++current;
    joined = false;
    asio::co_spawn(context, stay_connected(shared_from_this(), attempt, std::move(details)),
                   [log = log](const std::exception_ptr& failure) {
                     if (!failure) return;
                     try {
                       std::rethrow_exception(failure);
                     } catch (const std::exception& bug) {
                       log.error("gang: the connection to node 0 failed: {}", bug.what());
                     }
                   });
  }

  /// False once close(), connect() or the destructor has made this attempt a thing of the past.
  bool is_current(uint64_t attempt) const { return attempt == current; }

  static asio::awaitable<void> stay_connected(std::shared_ptr<State> self, uint64_t attempt,
                                              json details) {
    const auto deadline = std::chrono::steady_clock::now() + self->options.join_timeout;
    auto last_told = std::chrono::steady_clock::now();
    milliseconds pause = kFirstRetry;
    std::optional<SteadyTime> refused_since;
    for (;;) {
      const auto began = std::chrono::steady_clock::now();
      auto joined = co_await try_once(self, attempt, details, deadline);
      if (!self->is_current(attempt)) co_return;
      if (joined) break;
      const auto now = std::chrono::steady_clock::now();
      if (joined.error().code != kRefusedForNow)
        refused_since.reset();
      else if (!refused_since)
        refused_since = now;
      const bool refused_for_long =
          refused_since && now - *refused_since > self->options.heartbeat_timeout + kSecondLook;
      if (joined.error().kind == Error::Kind::kRefused || refused_for_long) {
        if (self->events.on_refused) self->events.on_refused(joined.error().message);
        co_return;
      }
      if (now + pause >= deadline) {
        if (self->events.on_unreachable) self->events.on_unreachable(joined.error().message);
        co_return;
      }
      if (now - last_told > kTellEvery) {
        last_told = now;
        self->log.info("waiting for node 0 at {}:{} ({}); {} s left", self->options.host,
                       self->options.port, joined.error().message,
                       std::chrono::duration_cast<seconds>(deadline - now).count());
      }
      self->retry_timer.expires_at(began + pause);  // who waited in vain has waited
      co_await self->retry_timer.async_wait(use_result);
      if (!self->is_current(attempt)) co_return;
      pause = std::min(pause * 3 / 2, kLongestRetry);
    }
    self->keep_heartbeat(attempt);
    const std::string why = co_await listen(self, attempt);
    if (!self->is_current(attempt)) co_return;
    self->joined = false;
    self->heartbeat_timer.cancel();
    self->connection->close();
    if (self->events.on_lost) self->events.on_lost(why);
  }

  /// One try to find and join node 0. On success `connection` is set and on_welcome was called.
  static asio::awaitable<Status> try_once(std::shared_ptr<State> self, uint64_t attempt,
                                          const json& details, SteadyTime deadline) {
    const auto left =
        std::chrono::duration_cast<milliseconds>(deadline - std::chrono::steady_clock::now());
    auto endpoints = co_await self->lookup.resolve(self->options.host, self->options.port,
                                                   std::min<milliseconds>(kResolvePatience, left));
    if (!self->is_current(attempt)) co_return fail(Error::Kind::kUnavailable, "closed");
    if (!endpoints) co_return fail(std::move(endpoints).error());
    auto dialled = co_await self->dialer.dial(std::move(*endpoints), deadline);
    if (!self->is_current(attempt)) co_return fail(Error::Kind::kUnavailable, "closed");
    if (!dialled) co_return fail(std::move(dialled).error());
    const auto socket = std::move(*dialled);
    boost::system::error_code write_error;
    asio::write(*socket, asio::buffer(kGangMagic),
                write_error);  // four bytes into an empty buffer: does not block
    if (write_error) co_return fail(Error::Kind::kUnavailable, "{}", write_error.message());
    self->connection = std::make_shared<GangConnection>(std::move(*socket));
    co_return co_await shake_hands(self, attempt, details);
  }

  static asio::awaitable<Status> shake_hands(std::shared_ptr<State> self, uint64_t attempt,
                                             const json& details) {
    const Options& ours = self->options;
    const auto connection = self->connection;
    const std::string agent_nonce = fresh_nonce();
    connection->send({{"type", "hello"},
                      {"protocol", kGangProtocol},
                      {"version", ours.version},
                      {"job", ours.job},
                      {"nonce", agent_nonce},
                      {"keyed", !ours.key.empty()}});
    auto challenge = co_await connection->receive(kHandshakePatience);
    if (!self->is_current(attempt)) co_return fail(Error::Kind::kUnavailable, "closed");
    if (!challenge) {
      connection->close();
      co_return fail(Error::Kind::kUnavailable, "no megalaunch agent answers there: {}",
                     challenge.error().message);
    }
    if (auto refused = refusal_in(*challenge)) co_return fail(std::move(*refused));
    const std::string leader_nonce = text_field(*challenge, "nonce");
    if (!same_proof(text_field(*challenge, "proof"),
                    leader_proof(ours.key, agent_nonce, leader_nonce, ours.job))) {
      const std::string reason =
          "node 0 has another job key; give all nodes the same MEGALAUNCH_JOB_KEY or key file";
      connection->send_last({{"type", "refuse"}, {"reason", reason}, {"final", true}});
      co_return fail(Error::Kind::kRefused, "{}", reason);
    }
    const std::string text = details.dump();
    connection->send({{"type", "join"},
                      {"details", text},
                      {"proof", agent_proof(ours.key, leader_nonce, agent_nonce, text)}});
    auto welcome = co_await connection->receive(kHandshakePatience);
    if (!self->is_current(attempt)) co_return fail(Error::Kind::kUnavailable, "closed");
    if (!welcome) {
      connection->close();
      co_return fail(Error::Kind::kUnavailable, "node 0 does not answer our join: {}",
                     welcome.error().message);
    }
    if (auto refused = refusal_in(*welcome)) co_return fail(std::move(*refused));
    connection->trust_peer();
    self->joined = true;
    if (self->events.on_welcome) self->events.on_welcome(*welcome);
    co_return Status{};
  }

  static std::optional<Error> refusal_in(const json& message) {
    if (text_field(message, "type") != "refuse") return std::nullopt;
    const auto final_word = message.find("final");
    if (final_word == message.end() || *final_word != false)
      return Error{Error::Kind::kRefused, 0, text_field(message, "reason")};
    return Error{Error::Kind::kUnavailable, kRefusedForNow, text_field(message, "reason")};
  }

  static asio::awaitable<std::string> listen(std::shared_ptr<State> self, uint64_t attempt) {
    const auto connection = self->connection;
    for (;;) {
      const auto message = co_await connection->receive(self->options.heartbeat_timeout);
      if (!self->is_current(attempt)) co_return "closed";
      if (!message) co_return message.error().message;
      if (text_field(*message, "type") == "pong") {
        const auto sent = time_field(*message, "sent"), now = time_field(*message, "now");
        if (sent && now)
          self->offset.add(wall_time(*sent), wall_time(*now), std::chrono::system_clock::now());
      } else if (self->events.on_message) {
        self->events.on_message(*message);
      }
      if (!self->is_current(attempt)) co_return "closed";
    }
  }

  void keep_heartbeat(uint64_t attempt) {
    connection->send(
        {{"type", "ping"}, {"sent", nanoseconds_of(std::chrono::system_clock::now())}});
    heartbeat_timer.expires_after(options.heartbeat_timeout / 5);
    heartbeat_timer.async_wait(
        [self = shared_from_this(), attempt](const boost::system::error_code& error) {
          if (!error && self->is_current(attempt)) self->keep_heartbeat(attempt);
        });
  }

  void close() {
    ++current;
    joined = false;
    retry_timer.cancel();
    heartbeat_timer.cancel();
    lookup.cancel();
    dialer.cancel();
    if (connection) connection->close();
  }

  asio::io_context& context;
  Options options;
  Log log;
  Events events;
  asio::steady_timer retry_timer;
  asio::steady_timer heartbeat_timer;
  NameLookup lookup;
  Dialer dialer;
  std::shared_ptr<GangConnection> connection;
  ClockOffset offset;
  uint64_t current = 0;
  bool joined = false;  ///< welcomed, and not lost since
};

GangClient::GangClient(asio::io_context& context, Options options, Log log, Events events)
    : state_(std::make_shared<State>(context, std::move(options), std::move(log),
                                     std::move(events))) {}

GangClient::~GangClient() {
  state_->events = {};
  state_->close();
}

void GangClient::connect(json details) {
  state_->connect(std::move(details));
}

void GangClient::send(const json& message) {
  // Not during the handshake either: node 0 would take it for an answer.
  if (state_->joined) state_->connection->send(message);
}

void GangClient::close() {
  state_->close();
}

std::optional<ClockOffset::Estimate> GangClient::clock_offset() const {
  return state_->offset.estimate();
}

}  // namespace megalaunch
