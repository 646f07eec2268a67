#include "rendezvous/store/store_server.h"

#include <malloc.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <set>
#include <thread>

#include "rendezvous/store/lobby.h"
#include "rendezvous/store/store_shared.h"
#include "rendezvous/store/store_worker.h"

namespace megalaunch {
namespace {

constexpr int kBacklog = 1 << 20;  // the kernel cuts it down to net.core.somaxconn

/// Soft limit to hard limit, and the hard limit to what the connections need where we may raise it.
void raise_open_files_limit(size_t connections) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  const rlim_t wanted = connections + 1024;
  if (limit.rlim_max < wanted) {
    const rlimit higher{wanted, wanted};
    if (::setrlimit(RLIMIT_NOFILE, &higher) == 0) return;
  }
  if (limit.rlim_cur >= wanted) return;
  limit.rlim_cur = std::min(limit.rlim_max, wanted);
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

/// By default glibc leaves small freed pieces apart until someone asks for a large one, and then
/// joins them all at once, under a lock: 70 ms after a million keys went.
void join_freed_memory_at_once() {
  ::mallopt(M_MXFAST, 0);
}

int default_threads() {
  return std::clamp(static_cast<int>(std::thread::hardware_concurrency()) / 2, 1, 8);
}

std::string place(const std::string& address, uint16_t port) {
  if (address.empty()) return fmt::format("port {} of every interface", port);
  return address.find(':') == std::string::npos ? fmt::format("{}:{}", address, port)
                                                : fmt::format("[{}]:{}", address, port);
}

/// Accepted sockets inherit these from the listening one.
void set_options(int socket) {
  const int on = 1;
  ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  // A node that died without a word is noticed after some minutes, though its ranks may be silent
  // for hours.
  const int idle = 120, interval = 30, probes = 4;
  ::setsockopt(socket, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
  ::setsockopt(socket, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
  ::setsockopt(socket, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
  ::setsockopt(socket, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
}

Result<UniqueFd> try_listen(const addrinfo& candidate, const std::string& where) {
  UniqueFd socket(::socket(candidate.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket) return errno_error(errno, fmt::format("listen on {}: socket", where));
  set_options(socket.get());
  if (candidate.ai_family == AF_INET6) {
    const int off = 0;
    ::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
  }
  if (::bind(socket.get(), candidate.ai_addr, candidate.ai_addrlen) != 0 ||
      ::listen(socket.get(), kBacklog) != 0)
    return errno_error(errno, fmt::format("listen on {}", where));
  return socket;
}

Result<UniqueFd> open_listening(const std::string& address, uint16_t port) {
  const std::string where = place(address, port);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(address.empty() ? nullptr : address.c_str(),
                                  std::to_string(port).c_str(), &hints, &found);
  if (error != 0)
    return fail(Error::Kind::kUsage, "listen on {}: {}. Name an address of this machine.", where,
                ::gai_strerror(error));
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, &::freeaddrinfo);
  Result<UniqueFd> last = fail(Error::Kind::kSystem, "listen on {}: no address", where);
  // IPv6 first: with no address given, one such socket serves IPv4 as well.
  for (const int family : {AF_INET6, AF_INET}) {
    for (const addrinfo* at = found; at != nullptr; at = at->ai_next) {
      if (at->ai_family != family) continue;
      last = try_listen(*at, where);
      if (last || last.error().code == EADDRINUSE) return last;
    }
  }
  return last;
}

Result<uint16_t> port_of(int socket) {
  sockaddr_storage bound{};
  socklen_t size = sizeof(bound);
  if (::getsockname(socket, reinterpret_cast<sockaddr*>(&bound), &size) != 0)
    return errno_error(errno, "getsockname");
  return ntohs(bound.ss_family == AF_INET6 ? reinterpret_cast<const sockaddr_in6&>(bound).sin6_port
                                           : reinterpret_cast<const sockaddr_in&>(bound).sin_port);
}

}  // namespace

class StoreServer::Impl {
 public:
  Impl(Options options, Log log, UniqueFd listening, uint16_t the_port)
      : port(the_port), shared(options.limits, options.expected_dialect, std::move(log)) {
    const int count = options.threads > 0 ? options.threads : default_threads();
    workers.reserve(static_cast<size_t>(count));
    for (int index = 0; index < count; ++index)
      workers.push_back(
          std::make_unique<StoreWorker>(shared, workers, static_cast<uint32_t>(index)));
    lobby = std::make_unique<Lobby>(
        shared, workers, std::move(listening),
        Lobby::Foreign{std::move(options.foreign_magic), std::move(options.on_foreign)});
    for (const auto& worker : workers)
      threads.emplace_back([&loop = worker->loop()] { loop.run(); });
  }

  ~Impl() {
    lobby->shut_down();
    for (const auto& worker : workers) worker->shut_down();
    for (auto& thread : threads) thread.join();
  }

  const uint16_t port;
  StoreShared shared;
  std::vector<std::unique_ptr<StoreWorker>> workers;
  std::unique_ptr<Lobby> lobby;
  std::vector<std::thread> threads;
};

StoreServer::StoreServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
StoreServer::~StoreServer() = default;

Result<std::unique_ptr<StoreServer>> StoreServer::listen(Options options, Log log) {
  if (options.foreign_magic.empty() != !options.on_foreign || options.foreign_magic.size() > 16)
    return fail(Error::Kind::kUsage,
                "store: foreign_magic (1 to 16 bytes) and on_foreign go together");
  raise_open_files_limit(options.limits.connections);
  join_freed_memory_at_once();
  auto listening = open_listening(options.bind_address, options.port);
  if (!listening) return fail(std::move(listening).error());
  const auto port = port_of(listening->get());
  if (!port) return fail(port.error());
  return std::unique_ptr<StoreServer>(new StoreServer(
      std::make_unique<Impl>(std::move(options), std::move(log), std::move(*listening), *port)));
}

uint16_t StoreServer::port() const {
  return impl_->port;
}

void StoreServer::admit_only(const std::vector<std::string>& addresses) {
  std::set<PeerAddress> admitted;
  for (const auto& text : addresses) {
    if (const auto address = PeerAddress::parse(text))
      admitted.insert(*address);
    else
      impl_->shared.log.warn("store: '{}' is not a numeric IP address; nobody is admitted from it",
                             text);
  }
  impl_->shared.peers.admit_only(std::move(admitted));
  for (const auto& worker : impl_->workers) worker->close_not_admitted();
}

void StoreServer::start_generation() {
  impl_->lobby->start_generation();
}

StoreStatistics StoreServer::statistics() const {
  StoreStatistics result;
  const StoreGeneration generation = impl_->shared.generation();
  result.connections_now = impl_->shared.connections.load(std::memory_order_relaxed);
  result.accepted = impl_->shared.accepted.load(std::memory_order_relaxed);
  result.foreign = impl_->lobby->foreign_count();
  result.refused = impl_->shared.refusals.total();
  result.keys_now = static_cast<uint64_t>(generation.keys->size());
  result.memory_now = impl_->shared.budget.used();
  result.generation = generation.number;
  for (const auto& worker : impl_->workers) {
    result.operations += worker->counts().operations.load(std::memory_order_relaxed);
    result.bytes_in += worker->counts().bytes_in.load(std::memory_order_relaxed);
    result.bytes_out += worker->counts().bytes_out.load(std::memory_order_relaxed);
  }
  return result;
}

}  // namespace megalaunch
