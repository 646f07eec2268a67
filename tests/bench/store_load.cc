// A load generator for c10d stores, ours and torch's: many connections, few threads, one line of
// JSON with the result.
//
//   store_load --port P [--host H] --mode MODE [flags]
//
//   mixed       closed loop of SET+GET, ADD, CHECK over --connections for --seconds
//   start       how long an NCCL-like job start takes: --connections, --groups 64
//   connect     connect and handshake of --connections
//   idle        connect, say so, then hold --connections until stdin ends
//   fill        --keys of 100 bytes
//   probe       every kind of operation for --seconds, beside a client that lists all keys again
//   and again generation  needs no --port: a server of ours in this process; --keys and
//   --connections go while the next generation
//               is probed
//
// --threads N (default: half of the cores), --value BYTES (128), --dialect magic|l1 (l1 for
// torch 1.13 and 2.0). Every reply is checked for its length and the sums for their value; exit 1
// if anything is wrong.
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "env/unique_fd.h"
#include "rendezvous/store/request_encoder.h"
#include "rendezvous/store/store_client.h"
#include "tests/bench/latencies.h"
#include "tests/bench/store_probe.h"

namespace {

using namespace megalaunch;
using enum Operation;
using Steady = std::chrono::steady_clock;

struct Settings {
  std::string host = "127.0.0.1";
  uint16_t port = 0;
  std::string mode = "mixed";
  int connections = 64;
  int threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()) / 2);
  double seconds = 5;
  int groups = 64;
  int keys = 1'000'000;
  size_t value = 128;
  Dialect dialect = Dialect::kMagic;
};

[[noreturn]] void die(const std::string& what) {
  std::fprintf(stderr, "store_load: %s\n", what.c_str());
  std::exit(1);
}

/// What one connection does next: some requests in one send, and how many reply bytes answer them.
struct Step {
  std::string bytes;
  size_t reply = 0;
  int operations = 0;
  bool timed = true;
};

class Plan {
 public:
  explicit Plan(const Settings& settings) : settings_(settings), value_(settings.value, 'v') {}

  Step handshake(int) const {
    if (settings_.dialect != Dialect::kMagic) return request(kAdd, {"init/"}, 1, 8);
    Step step{std::string(kMagicOpening), 0, 1, false};
    add(step, request(kPing, {}, 7, 4));
    add(step, request(kAdd, {"init/"}, 1, 8));
    return step;
  }

  Step mixed(int connection, uint64_t round) const {
    const std::string key = "/load/" + std::to_string(connection);
    switch (round % 3) {
      case 0: {
        Step step = request(kSet, {key, value_}, 0, 0);
        add(step, request(kGet, {key}, 0, 8 + value_.size()));
        return step;
      }
      case 1:
        return request(kAdd, {"/count/" + std::to_string(connection % 16)}, 1, 8);
      default:
        return request(kCheck, {key}, 0, 1);
    }
  }

  /// Barrier, then the groups: one client sets the id of the group, all others wait for it and get
  /// it.
  std::optional<Step> start(int connection, uint64_t round, int64_t last_number) const {
    if (round == 0) return request(kAdd, {"/barrier"}, 1, 8);
    if (round == 1) {
      Step step;
      if (last_number == settings_.connections) add(step, request(kSet, {"/everybody", "1"}, 0, 0));
      add(step, request(kWait, {"/everybody"}, 0, 1));
      return step;
    }
    const auto group = static_cast<int>(round - 2) / 2;
    if (group == settings_.groups) return std::nullopt;
    const std::string key = "/default_pg/0//cuda//" + std::to_string(group);
    const bool second = (round - 2) % 2 == 1;
    if (connection == group * 7919 % settings_.connections) {
      if (second) return Step{};  // nothing to do, on to the next group
      Step step = request(kSet, {key, value_}, 0, 0);
      add(step, request(kCheck, {key}, 0, 1));
      return step;
    }
    return second ? request(kGet, {key}, 0, 8 + value_.size()) : request(kWait, {key}, 0, 1);
  }

 private:
  Step request(Operation operation, std::initializer_list<std::string_view> strings, int64_t number,
               size_t reply) const {
    return {encode_request(settings_.dialect, operation, strings, number), reply, 1, true};
  }
  static void add(Step& step, const Step& more) {
    step.bytes += more.bytes;
    step.reply += more.reply;
    step.operations += more.operations;
  }

  const Settings& settings_;
  const std::string value_;
};

struct Connection {
  int number = 0;
  UniqueFd socket;
  bool connected = false;
  bool done = false;
  uint64_t round = 0;
  int64_t last_number = 0;
  Step step;
  size_t received = 0;
  Steady::time_point sent;
};

/// One thread's share of the connections.
class Driver {
 public:
  Driver(const Settings& settings, const sockaddr_storage& address, socklen_t size, int first,
         int last)
      : settings_(settings),
        plan_(settings),
        address_(address),
        address_size_(size),
        epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
    for (int number = first; number < last; ++number) {
      connections_.push_back(std::make_unique<Connection>());
      connections_.back()->number = number;
    }
  }

  /// Connects all and shakes hands.
  void connect_all() {
    size_t next = 0;
    while (ready_ < connections_.size()) {
      while (next < connections_.size() && next - ready_ < 256) open(*connections_[next++]);
      poll(Steady::now() + std::chrono::seconds(60));
    }
  }
  /// Goes on until the deadline, or until the plan of every connection is over.
  void work(Steady::time_point deadline) {
    working_ = true;
    deadline_ = deadline;
    for (auto& connection : connections_) advance(*connection);
    while (busy_ > 0) poll(deadline_ + std::chrono::seconds(60));
  }

  Latencies latencies;
  uint64_t operations = 0;
  uint64_t adds = 0;

 private:
  void open(Connection& connection) {
    connection.socket.reset(
        ::socket(address_.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!connection.socket) die(std::string("socket: ") + strerror(errno));
    const int on = 1;
    ::setsockopt(connection.socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    bind_source(connection);
    if (::connect(connection.socket.get(), reinterpret_cast<const sockaddr*>(&address_),
                  address_size_) != 0 &&
        errno != EINPROGRESS)
      die(std::string("connect: ") + strerror(errno));
    epoll_event event{EPOLLOUT, {&connection}};
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, connection.socket.get(), &event);
  }

  /// One address has some 28,000 ports: each 20,000 connections over loopback come from an address
  /// of their own.
  void bind_source(const Connection& connection) {
    auto source = reinterpret_cast<const sockaddr_in&>(address_);
    if (source.sin_family != AF_INET || ntohl(source.sin_addr.s_addr) >> 24 != 127) return;
    const int on = 1;
    ::setsockopt(connection.socket.get(), IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
    source.sin_port = 0;
    source.sin_addr.s_addr =
        htonl(INADDR_LOOPBACK + static_cast<uint32_t>(connection.number / 20'000));
    if (::bind(connection.socket.get(), reinterpret_cast<const sockaddr*>(&source),
               sizeof(source)) != 0)
      die(std::string("bind: ") + strerror(errno));
  }

  void poll(Steady::time_point give_up) {
    std::array<epoll_event, 256> events;
    const int count =
        ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), 1000);
    if (count <= 0 && Steady::now() > give_up) die("no answer for 60 s");
    for (int index = 0; index < count; ++index)
      handle(*static_cast<Connection*>(events[static_cast<size_t>(index)].data.ptr));
  }

  void handle(Connection& connection) {
    if (!connection.connected) {
      int error = 0;
      socklen_t size = sizeof(error);
      ::getsockopt(connection.socket.get(), SOL_SOCKET, SO_ERROR, &error, &size);
      if (error != 0) die(std::string("connect: ") + strerror(error));
      connection.connected = true;
      epoll_event event{EPOLLIN, {&connection}};
      ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, connection.socket.get(), &event);
      ++busy_;
      return send(connection, plan_.handshake(connection.number));
    }
    char buffer[65536];
    const ssize_t got = ::recv(connection.socket.get(), buffer, sizeof(buffer), 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) die("the server closed a connection");
    connection.received += static_cast<size_t>(got);
    if (connection.received < connection.step.reply) return;
    if (connection.received > connection.step.reply) die("more reply than expected");
    if (got >= 8) connection.last_number = load_little<int64_t>(buffer + got - 8);
    if (working_) latencies.record(Steady::now() - connection.sent);
    operations += static_cast<uint64_t>(working_ ? connection.step.operations : 0);
    if (!working_) {
      --busy_;
      ++ready_;
      return;
    }
    --busy_;
    advance(connection);
  }

  void advance(Connection& connection) {
    for (;;) {
      std::optional<Step> step;
      const uint64_t round = connection.round++;
      if (settings_.mode == "mixed") {
        if (Steady::now() >= deadline_) return;
        step = plan_.mixed(connection.number, round);
        if (round % 3 == 1) ++adds;
      } else {
        step = plan_.start(connection.number, round, connection.last_number);
      }
      if (!step) return;
      if (step->bytes.empty()) continue;
      ++busy_;
      return send(connection, std::move(*step));
    }
  }

  void send(Connection& connection, Step step) {
    connection.step = std::move(step);
    connection.received = 0;
    connection.sent = Steady::now();
    const auto& bytes = connection.step.bytes;
    if (::send(connection.socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) !=
        static_cast<ssize_t>(bytes.size()))
      die(std::string("send: ") + strerror(errno));
  }

  const Settings& settings_;
  const Plan plan_;
  const sockaddr_storage address_;
  const socklen_t address_size_;
  UniqueFd epoll_;
  std::vector<std::unique_ptr<Connection>> connections_;
  bool working_ = false;
  size_t ready_ = 0;
  size_t busy_ = 0;
  Steady::time_point deadline_;
};

Settings parse(int argc, char** argv) {
  Settings settings;
  std::map<std::string, std::string> flags;
  for (int index = 1; index + 1 < argc; index += 2) flags[argv[index]] = argv[index + 1];
  if (argc % 2 == 0 || flags.empty()) die("flags come in pairs; see the top of store_load.cc");
  const auto take = [&](const std::string& name, auto read) {
    if (const auto at = flags.find(name); at != flags.end()) {
      read(at->second);
      flags.erase(at);
    }
  };
  take("--host", [&](const std::string& text) { settings.host = text; });
  take("--port",
       [&](const std::string& text) { settings.port = static_cast<uint16_t>(std::stoi(text)); });
  take("--mode", [&](const std::string& text) { settings.mode = text; });
  take("--connections", [&](const std::string& text) { settings.connections = std::stoi(text); });
  take("--threads", [&](const std::string& text) { settings.threads = std::stoi(text); });
  take("--seconds", [&](const std::string& text) { settings.seconds = std::stod(text); });
  take("--groups", [&](const std::string& text) { settings.groups = std::stoi(text); });
  take("--keys", [&](const std::string& text) { settings.keys = std::stoi(text); });
  take("--value", [&](const std::string& text) { settings.value = std::stoul(text); });
  take("--dialect", [&](const std::string& text) {
    settings.dialect = text == "l1" ? Dialect::kL1 : Dialect::kMagic;
  });
  if (!flags.empty()) die("unknown flag " + flags.begin()->first);
  settings.threads = std::clamp(settings.threads, 1, settings.connections);
  return settings;
}

/// To what this user may have, and for root as many as any test needs.
void raise_open_files() {
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  const rlimit more{200'000, 200'000};
  if (files.rlim_max >= more.rlim_max || ::setrlimit(RLIMIT_NOFILE, &more) != 0) {
    files.rlim_cur = files.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &files);
  }
}

int fill(const Settings& settings) {
  const auto start = Steady::now();
  if (auto filled = fill_keys(settings.host, settings.port, settings.keys); !filled)
    die(filled.error().message);
  std::printf("{\"mode\": \"fill\", \"keys\": %d, \"seconds\": %.3f}\n", settings.keys,
              std::chrono::duration<double>(Steady::now() - start).count());
  return 0;
}

void print(const std::vector<ProbedOperation>& probed) {
  std::string line = "{\"operations\": [";
  for (const auto& [name, latencies] : probed) {
    char text[256];
    std::snprintf(text, sizeof(text),
                  "{\"name\": \"%s\", \"count\": %llu, \"p50_us\": %.1f, \"p99_us\": %.1f, "
                  "\"longest_us\": %.1f}",
                  name.c_str(), static_cast<unsigned long long>(latencies.count()),
                  latencies.microseconds(0.5), latencies.microseconds(0.99),
                  latencies.longest_microseconds());
    line += (line.ends_with('[') ? "" : ", ") + std::string(text);
  }
  std::printf("%s]}\n", line.c_str());
}

int probe(const Settings& settings) {
  const auto probed = probe_store(settings.host, settings.port, settings.seconds, true);
  if (!probed) die(probed.error().message);
  print(*probed);
  return 0;
}

int generation(const Settings& settings) {
  const auto probed = probe_generation(settings.keys, settings.connections, settings.seconds);
  if (!probed) die(probed.error().message);
  print(*probed);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const Settings settings = parse(argc, argv);
  raise_open_files();
  if (settings.mode == "fill") return fill(settings);
  if (settings.mode == "probe") return probe(settings);
  if (settings.mode == "generation") return generation(settings);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (::getaddrinfo(settings.host.c_str(), std::to_string(settings.port).c_str(), &hints, &found) !=
      0)
    die("unknown host");
  sockaddr_storage address{};
  std::memcpy(&address, found->ai_addr, found->ai_addrlen);
  const socklen_t address_size = found->ai_addrlen;
  ::freeaddrinfo(found);

  std::vector<std::unique_ptr<Driver>> drivers;
  for (int thread = 0; thread < settings.threads; ++thread) {
    const auto share = [&](int index) {
      return static_cast<int>(int64_t{settings.connections} * index / settings.threads);
    };
    drivers.push_back(std::make_unique<Driver>(settings, address, address_size, share(thread),
                                               share(thread + 1)));
  }
  const auto in_parallel = [&](auto action) {
    const auto start = Steady::now();
    std::vector<std::thread> threads;
    for (auto& driver : drivers) threads.emplace_back([&action, &driver] { action(*driver); });
    for (auto& thread : threads) thread.join();
    return std::chrono::duration<double>(Steady::now() - start).count();
  };

  const double connecting = in_parallel([](Driver& driver) { driver.connect_all(); });
  double working = 0;
  if (settings.mode == "mixed" || settings.mode == "start") {
    const auto limit = settings.mode == "mixed" ? std::chrono::duration<double>(settings.seconds)
                                                : std::chrono::hours(1);
    const auto deadline = Steady::now() + std::chrono::duration_cast<Steady::duration>(limit);
    working = in_parallel([&](Driver& driver) { driver.work(deadline); });
  } else if (settings.mode == "idle") {
    std::printf("{\"mode\": \"idle\", \"connections\": %d}\n", settings.connections);
    std::fflush(stdout);
    while (std::getchar() != EOF) {
    }
    return 0;
  }

  Latencies latencies;
  uint64_t operations = 0, adds = 0;
  for (const auto& driver : drivers) {
    latencies.merge(driver->latencies);
    operations += driver->operations;
    adds += driver->adds;
  }
  if (settings.mode == "mixed" && settings.dialect == Dialect::kMagic) {
    auto client = StoreClient::connect(settings.host, settings.port);
    if (!client) die(client.error().message);
    uint64_t sum = 0;
    for (int counter = 0; counter < 16; ++counter) {
      const std::string key = "/count/" + std::to_string(counter);
      sum += static_cast<uint64_t>(client->add(key, 0).value_or(0));
      (void)client->erase(key);
    }
    if (sum != adds) die("the counters do not add up");
  }
  std::printf(
      "{\"mode\": \"%s\", \"connections\": %d, \"threads\": %d, \"connects_per_second\": %.0f, "
      "\"seconds\": %.4f, "
      "\"operations\": %llu, \"operations_per_second\": %.0f, \"p50_us\": %.1f, \"p99_us\": %.1f, "
      "\"longest_us\": %.1f}\n",
      settings.mode.c_str(), settings.connections, settings.threads,
      settings.connections / connecting, working, static_cast<unsigned long long>(operations),
      working > 0 ? static_cast<double>(operations) / working : 0.0, latencies.microseconds(0.5),
      latencies.microseconds(0.99), latencies.longest_microseconds());
  return 0;
}
