#include "tests/bench/store_probe.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <atomic>
#include <functional>
#include <thread>

#include "env/unique_fd.h"
#include "rendezvous/store/store_client.h"
#include "rendezvous/store/store_server.h"
#include "rendezvous/store/wire_format.h"

namespace megalaunch {
namespace {

using Steady = std::chrono::steady_clock;
using Clients = std::vector<StoreClient>;

constexpr auto kPatience = seconds(60);
constexpr int kMany = 100;  // keys of one MULTI_SET, MULTI_GET, WAIT, CHECK

template <class T>
Status outcome(const Result<T>& result) {
  if (!result) return fail(result.error());
  return {};
}

/// The operations, each a call that returns when its reply is there.
class Probe {
 public:
  Probe(std::string host, uint16_t port, StoreClient client)
      : host_(std::move(host)), port_(port), client_(std::move(client)) {
    for (int index = 0; index < kMany; ++index) names_.push_back("/many/" + std::to_string(index));
    for (const auto& name : names_) {
      many_.push_back(name);
      pairs_.push_back(name);
      pairs_.push_back(value_);
    }
  }

  Status run(Steady::time_point until) {
    do {
      for (auto& [name, latencies, act] : operations_) {
        const auto start = Steady::now();
        if (const Status done = act(); !done)
          return fail(Error::Kind::kSystem, "{}: {}", name, done.error().message);
        latencies.record(Steady::now() - start);
      }
    } while (Steady::now() < until);
    return {};
  }

  std::vector<ProbedOperation> results() const {
    std::vector<ProbedOperation> results;
    for (const auto& operation : operations_)
      results.emplace_back(operation.name, operation.latencies);
    return results;
  }

 private:
  struct Timed {
    std::string name;
    Latencies latencies;
    std::function<Status()> act;
  };

  Status set_and(const Status& sent) {
    if (!sent) return sent;
    return outcome(client_.key_count());
  }

  const std::string host_;
  const uint16_t port_;
  StoreClient client_;
  const std::string value_ = std::string(100, 'v');
  std::vector<std::string> names_;
  std::vector<std::string_view> many_, pairs_;
  int fresh_ = 0;
  std::vector<Timed> operations_{
      {"SET of a new key, GETNUMKEYS",
       {},
       [this] { return set_and(client_.set("/fresh/" + std::to_string(++fresh_), value_)); }},
      {"DELETE_KEY",
       {},
       [this] { return outcome(client_.erase("/fresh/" + std::to_string(fresh_))); }},
      {"SET, GETNUMKEYS", {}, [this] { return set_and(client_.set("/probe", value_)); }},
      {"WAIT, GET", {}, [this] { return outcome(client_.get("/probe", kPatience)); }},
      {"ADD", {}, [this] { return outcome(client_.add("/probed", 1)); }},
      {"COMPARE_SET",
       {},
       [this] { return outcome(client_.compare_set("/probe", value_, value_)); }},
      {"APPEND, GETNUMKEYS", {}, [this] { return set_and(client_.append("/probe", "w")); }},
      {"MULTI_SET of 100, GETNUMKEYS", {}, [this] { return set_and(client_.multi_set(pairs_)); }},
      {"WAIT, MULTI_GET of 100",
       {},
       [this] { return outcome(client_.multi_get(many_, kPatience)); }},
      {"CHECK of 100", {}, [this] { return outcome(client_.check(many_)); }},
      {"WAIT of 100", {}, [this] { return client_.wait(many_, kPatience); }},
      {"QUEUE_PUSH, QUEUE_LEN",
       {},
       [this] {
         if (const Status pushed = client_.queue_push("/queue", value_); !pushed) return pushed;
         return outcome(client_.queue_length("/queue"));
       }},
      {"QUEUE_POP", {}, [this] { return outcome(client_.queue_pop("/queue")); }},
      {"BARRIER of 1",
       {},
       [this] { return client_.barrier("/barrier/" + std::to_string(fresh_), 1, kPatience); }},
      {"DELETE_KEY of the barrier",
       {},
       [this] { return outcome(client_.erase("/barrier/" + std::to_string(fresh_))); }},
      {"connect, VALIDATE, PING",
       {},
       [this] { return outcome(StoreClient::connect(host_, port_)); }},
  };
};

/// Connected and known to the store, but silent. From several addresses: one has too few ports.
Result<UniqueFd> hold_connection(uint16_t port, int number) {
  UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in from{}, to{};
  from.sin_family = to.sin_family = AF_INET;
  from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + static_cast<uint32_t>(number / 20'000));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  to.sin_port = htons(port);
  const int on = 1;
  ::setsockopt(socket.get(), IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
  if (!socket || ::bind(socket.get(), reinterpret_cast<sockaddr*>(&from), sizeof(from)) != 0 ||
      ::connect(socket.get(), reinterpret_cast<sockaddr*>(&to), sizeof(to)) != 0 ||
      ::send(socket.get(), kMagicOpening.data(), kMagicOpening.size(), MSG_NOSIGNAL) < 0)
    return errno_error(errno, fmt::format("connection {}", number));
  return socket;
}

}  // namespace

Status fill_keys(const std::string& host, uint16_t port, int keys) {
  auto client = StoreClient::connect(host, port);
  if (!client) return fail(client.error());
  const std::string value(100, 'v');
  for (int key = 0; key < keys; key += 1000) {
    std::vector<std::string> names;
    std::vector<std::string_view> pairs;
    for (int index = key; index < std::min(keys, key + 1000); ++index)
      names.push_back("/fill/" + std::to_string(index));
    for (const auto& name : names) {
      pairs.push_back(name);
      pairs.push_back(value);
    }
    if (auto set = client->multi_set(pairs); !set) return set;
  }
  const auto count = client->key_count();
  if (!count) return fail(count.error());
  if (*count < keys)
    return fail(Error::Kind::kSystem, "{} of {} keys are missing", keys - *count, keys);
  return {};
}

Result<std::vector<ProbedOperation>> probe_store(const std::string& host, uint16_t port,
                                                 double seconds, bool list) {
  auto client = StoreClient::connect(host, port);
  auto lister = StoreClient::connect(host, port);
  if (!client || !lister) return fail(client ? lister.error() : client.error());
  std::atomic<bool> ended{false};
  Latencies listings;
  Status listed;
  std::thread listing([&] {
    while (list && !ended && listed) {
      const auto start = Steady::now();
      listed = outcome(lister->list_keys());
      listings.record(Steady::now() - start);
    }
  });
  Probe probe(host, port, std::move(*client));
  const Status ran = probe.run(Steady::now() + std::chrono::duration_cast<Steady::duration>(
                                                   std::chrono::duration<double>(seconds)));
  ended = true;
  listing.join();
  if (!ran) return fail(ran.error());
  if (!listed) return fail(listed.error());
  auto results = probe.results();
  if (list) results.emplace_back("LIST_KEYS", listings);
  return results;
}

Result<std::vector<ProbedOperation>> probe_generation(int keys, int connections, double seconds) {
  StoreServer::Options options;
  options.bind_address = "127.0.0.1";
  options.limits.connections = static_cast<size_t>(connections) + 1000;
  auto server = StoreServer::listen(std::move(options), Log::to_nowhere());
  if (!server) return fail(server.error());
  const uint16_t port = (*server)->port();
  if (const Status filled = fill_keys("127.0.0.1", port, keys); !filled)
    return fail(filled.error());
  std::vector<UniqueFd> held;
  for (int number = 0; number < connections; ++number) {
    auto socket = hold_connection(port, number);
    if (!socket) return fail(socket.error());
    held.push_back(std::move(*socket));
  }
  while ((*server)->statistics().operations < static_cast<uint64_t>(connections))
    std::this_thread::sleep_for(milliseconds(1));
  (*server)->start_generation();
  auto results = probe_store("127.0.0.1", port, seconds, false);
  const auto left = (*server)->statistics();
  if (results && left.connections_now > 10)
    return fail(Error::Kind::kSystem, "{} connections of the old generation are still there",
                left.connections_now);
  return results;
}

}  // namespace megalaunch
