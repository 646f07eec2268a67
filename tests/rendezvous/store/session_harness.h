#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "rendezvous/store/request_encoder.h"
#include "rendezvous/store/session.h"

namespace megalaunch {

/// Several sessions over one key space, without a socket or a thread: what a client would have
/// received lies in its `output`, and a client that the store would close is `closed`.
class SessionHarness final : public Wakeups {
 public:
  struct Client {
    std::unique_ptr<Session> session;
    std::string unconsumed;
    std::string output;
    std::optional<Refusal> closed;
    Session::Stop stop = Session::Stop::kNeedMore;
    std::string take() { return std::exchange(output, {}); }
  };

  explicit SessionHarness(StoreLimits the_limits = {})
      : limits(the_limits),
        budget(limits.total_bytes),
        keys(std::make_shared<KeySpace>(limits, budget)) {}
  ~SessionHarness() override { clients_.clear(); }

  Client& connect(std::optional<Dialect> expected = std::nullopt) {
    const auto slot = static_cast<uint32_t>(clients_.size());
    clients_.push_back(std::make_unique<Client>());
    clients_[slot]->session =
        std::make_unique<Session>(keys, limits, expected, Ticket{0, slot, slot, 0}, *this);
    return *clients_[slot];
  }
  Client& connect_magic() {
    Client& client = connect();
    send(client, std::string(kMagicOpening));
    return client;
  }
  void disconnect(Client& client) { client.session.reset(); }

  /// Delivers `bytes`, then what that wakes. An ambiguous request is left open: see be_silent().
  void send(Client& client, std::string_view bytes) {
    if (client.closed) return;
    client.unconsumed.append(bytes);
    serve(client);
    deliver();
  }
  void send(Client& client, Operation operation,
            std::initializer_list<std::string_view> strings = {}, int64_t number = 0) {
    send(client, encode_request(client.session->dialect().value_or(Dialect::kL1), operation,
                                strings, number));
  }
  /// The client sends nothing for so long that an ambiguous request is decided.
  void be_silent(Client& client) {
    if (client.stop != Session::Stop::kAmbiguous) return;
    client.session->decide_by_silence();
    serve(client);
    deliver();
  }

  void wake(const Ticket& ticket) override { wakes_.push_back(ticket); }
  void push(const Ticket& ticket, std::string bytes) override {
    if (clients_[ticket.slot]->session) clients_[ticket.slot]->output += bytes;
  }
  /// Hands out the wake-ups that are on their way.
  void deliver() {
    for (const Ticket& ticket : std::exchange(wakes_, {}))
      if (auto& client = *clients_[ticket.slot]; client.session)
        client.session->wake(ticket, client.output);
  }
  std::vector<Ticket>& wakes() { return wakes_; }

  const StoreLimits limits;
  MemoryBudget budget;
  std::shared_ptr<KeySpace> keys;

 private:
  void serve(Client& client) {
    for (;;) {
      const auto progress = client.session->receive(client.unconsumed, client.output);
      client.unconsumed.erase(0, progress.consumed);
      client.stop = progress.stop;
      if (progress.stop == Session::Stop::kRefused) client.closed = client.session->refusal();
      if (progress.stop != Session::Stop::kOutputFull && progress.stop != Session::Stop::kMoreWork)
        return;
    }
  }

  std::vector<std::unique_ptr<Client>> clients_;
  std::vector<Ticket> wakes_;
};

/// The wire form of one reply field, for expectations.
inline std::string counted(std::string_view bytes) {
  std::string wire;
  append_counted(wire, bytes);
  return wire;
}
inline std::string integer(int64_t value) {
  std::string wire;
  append_little(wire, value);
  return wire;
}

}  // namespace megalaunch
