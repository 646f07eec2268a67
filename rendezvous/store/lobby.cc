#include "rendezvous/store/lobby.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string_view>
#include <system_error>

#include "env/result.h"

namespace megalaunch {
namespace {

constexpr int kAcceptBatch = 256;
// Out of descriptors or memory: the kernel's queue keeps the connections while we wait for better
// times.
constexpr auto kAcceptPause = milliseconds(50);
constexpr size_t kLongestMagic = 16;
// Closed at a time before whoever is ready gets a turn.
constexpr size_t kClosedAtATime = 128;

void set_low_water(const Newcomer& newcomer, size_t bytes) {
  const int low_water = static_cast<int>(bytes);
  ::setsockopt(newcomer.socket.get(), SOL_SOCKET, SO_RCVLOWAT, &low_water, sizeof(low_water));
}

}  // namespace

struct Lobby::Guest final : EventLoop::Source {
  Guest(Lobby& the_lobby, uint64_t the_id, Newcomer the_newcomer)
      : lobby(the_lobby), id(the_id), newcomer(std::move(the_newcomer)) {}
  void on_ready(uint32_t events) override { lobby.on_first_bytes(*this, events); }

  Lobby& lobby;
  const uint64_t id;
  Newcomer newcomer;
  bool may_stay_silent = false;
};

Lobby::Lobby(StoreShared& shared, const std::vector<std::unique_ptr<StoreWorker>>& workers,
             UniqueFd listening, Foreign foreign)
    : shared_(shared),
      workers_(workers),
      foreign_(std::move(foreign)),
      loop_(workers.front()->loop()),
      listening_(std::move(listening)),
      leaving_(workers.size()) {
  if (!loop_.watch(listening_.get(), EPOLLIN, *this))
    throw std::system_error(errno, std::generic_category(), "store: epoll");
}

Lobby::~Lobby() = default;

void Lobby::shut_down() {
  loop_.post([this] {
    shut_ = true;
    loop_.forget(listening_.get(), *this);
    listening_.reset();
    guests_.clear();
  });
}

// ---- accepting ----

/// False: the queue is empty, or the kernel cannot give us one now (errno tells).
bool Lobby::accept_one(std::vector<Newcomer>& accepted) {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  UniqueFd socket(::accept4(listening_.get(), reinterpret_cast<sockaddr*>(&address), &size,
                            SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!socket) return errno == ECONNABORTED || errno == EINTR;
  accepted.push_back({std::move(socket), PeerAddress::of(address), shared_.generation()});
  return true;
}

void Lobby::on_ready(uint32_t) {
  std::vector<Newcomer> accepted;
  int error = 0;
  {
    const std::lock_guard lock(accept_mutex_);
    for (int taken = 0; taken < kAcceptBatch && error == 0; ++taken)
      if (!accept_one(accepted)) error = errno;
  }
  receive_guests(std::move(accepted));
  if (error != 0 && error != EAGAIN) pause_accepting(error);
}

void Lobby::pause_accepting(int error) {
  if (const auto now = shared_.clock.steady(); now >= next_accept_warning_) {
    next_accept_warning_ = now + std::chrono::minutes(1);
    shared_.log.warn(
        "store: cannot accept connections: {}; they queue up in the kernel until that is over",
        errno_text(error));
  }
  loop_.change(listening_.get(), 0, *this);
  loop_.call_at(shared_.clock.steady() + kAcceptPause, [this] {
    if (!shut_) loop_.change(listening_.get(), EPOLLIN, *this);
  });
}

void Lobby::start_generation() {
  // Everyone whom the kernel has connected by now belongs to the generation that ends.
  std::vector<Newcomer> stale;
  StoreGeneration next;
  {
    const std::lock_guard lock(accept_mutex_);
    while (accept_one(stale)) {
    }
    const std::lock_guard generation_lock(shared_.generation_mutex);
    shared_.current = {shared_.current.number + 1, shared_.new_key_space()};
    next = shared_.current;
  }
  for (const auto& worker : workers_) worker->close_generations_before(next.number);
  // They may still turn out to be foreign: look at them all the same.
  loop_.post([this, number = next.number,
              stale = std::make_shared<std::vector<Newcomer>>(std::move(stale))] {
    leave_silent(number);
    receive_guests(std::move(*stale));
  });
}

/// The silent connections from before `generation`, some at a time.
void Lobby::leave_silent(uint64_t generation) {
  std::vector<uint64_t> silent;
  for (const auto& [id, guest] : guests_) {
    if (!guest->may_stay_silent || guest->newcomer.generation.number >= generation) continue;
    silent.push_back(id);
    if (silent.size() == kClosedAtATime) break;
  }
  for (const uint64_t id : silent) leave(id);
  if (silent.size() == kClosedAtATime)
    loop_.later([this, generation] { leave_silent(generation); });
}

// ---- whose is it? ----

void Lobby::receive_guests(std::vector<Newcomer> accepted) {
  shared_.accepted.fetch_add(accepted.size(), std::memory_order_relaxed);
  for (Newcomer& newcomer : accepted) {
    if (shared_.connections.fetch_add(1, std::memory_order_relaxed) >= shared_.limits.connections) {
      turn_away(newcomer, Refusal::kTooManyConnections);
      continue;
    }
    if (look_at(newcomer) == Verdict::kWait) seat(std::move(newcomer));
  }
  hand_over();
}

/// Looks at the first bytes without reading them. Who comes from an unknown address is only looked
/// at for the foreign magic. kGone: the connection is somebody else's now, or closed.
Lobby::Verdict Lobby::look_at(Newcomer& newcomer) {
  const bool admitted = shared_.peers.admits(newcomer.address);
  if (!admitted && foreign_.magic.empty()) {
    turn_away(newcomer, Refusal::kUnknownAddress);
    return Verdict::kGone;
  }
  std::array<char, kLongestMagic> front{};
  const size_t wanted = std::max<size_t>(1, foreign_.magic.size());
  const ssize_t seen = ::recv(newcomer.socket.get(), front.data(), wanted, MSG_PEEK | MSG_DONTWAIT);
  if (seen < 0 && (errno == EAGAIN || errno == EINTR)) return Verdict::kWait;
  if (seen <= 0) {
    shared_.connections.fetch_sub(1, std::memory_order_relaxed);
    newcomer.socket.reset();
    return Verdict::kGone;
  }
  const std::string_view bytes(front.data(), static_cast<size_t>(seen));
  if (!foreign_.magic.empty() && std::string_view(foreign_.magic).starts_with(bytes)) {
    // Do not wake up again before the rest is there.
    const bool whole = bytes.size() == foreign_.magic.size();
    set_low_water(newcomer, whole ? 1 : foreign_.magic.size());
    if (!whole) return Verdict::kWait;
    shared_.connections.fetch_sub(1, std::memory_order_relaxed);
    foreign_count_.fetch_add(1, std::memory_order_relaxed);
    foreign_.take(std::move(newcomer.socket));
    return Verdict::kGone;
  }
  if (!admitted) {
    turn_away(newcomer, Refusal::kUnknownAddress);
    return Verdict::kGone;
  }
  if (foreign_.magic.starts_with(bytes.front())) set_low_water(newcomer, 1);
  leaving_[next_worker_++ % leaving_.size()].push_back(std::move(newcomer));
  return Verdict::kGone;
}

void Lobby::turn_away(const Newcomer& newcomer, Refusal refusal) {
  shared_.connections.fetch_sub(1, std::memory_order_relaxed);
  shared_.refusals.count(refusal, newcomer.address);
}

void Lobby::hand_over() {
  for (size_t worker = 0; worker < leaving_.size(); ++worker)
    if (!leaving_[worker].empty()) workers_[worker]->adopt(std::exchange(leaving_[worker], {}));
}

// ---- waiting for the first bytes ----

void Lobby::seat(Newcomer newcomer) {
  const uint64_t id = ++next_guest_;
  auto guest = std::make_unique<Guest>(*this, id, std::move(newcomer));
  if (!loop_.watch(guest->newcomer.socket.get(), EPOLLIN | EPOLLRDHUP, *guest)) {
    shared_.connections.fetch_sub(1, std::memory_order_relaxed);
    return;
  }
  guests_.emplace(id, std::move(guest));
  deadlines_.emplace_back(shared_.clock.steady() + shared_.limits.first_bytes, id);
  arm_deadline();
}

void Lobby::on_first_bytes(Guest& guest, uint32_t events) {
  // look_at() may pass the socket on: this loop must let go of it before.
  const int socket = guest.newcomer.socket.get();
  loop_.forget(socket, guest);
  if (look_at(guest.newcomer) == Verdict::kGone) {
    if (guest.may_stay_silent) shared_.peers.silent_ended(guest.newcomer.address);
    guests_.erase(guests_.find(guest.id));
    hand_over();
    return;
  }
  // Half of the foreign magic, and nothing will follow.
  if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) return leave(guest.id);
  if (!loop_.watch(socket, EPOLLIN | EPOLLRDHUP, guest)) leave(guest.id);
}

void Lobby::leave(uint64_t id) {
  const auto at = guests_.find(id);
  if (at->second->may_stay_silent) shared_.peers.silent_ended(at->second->newcomer.address);
  shared_.connections.fetch_sub(1, std::memory_order_relaxed);
  loop_.forget(at->second->newcomer.socket.get(), *at->second);
  guests_.erase(at);
}

void Lobby::arm_deadline() {
  if (deadlines_.empty() || std::exchange(deadline_armed_, true)) return;
  loop_.call_at(deadlines_.front().first, [this] {
    deadline_armed_ = false;
    if (!shut_) on_deadline();
  });
}

void Lobby::on_deadline() {
  const auto now = shared_.clock.steady();
  size_t closed = 0;
  while (!deadlines_.empty() && deadlines_.front().first <= now && closed < kClosedAtATime) {
    const uint64_t id = deadlines_.front().second;
    deadlines_.pop_front();
    const auto at = guests_.find(id);
    if (at == guests_.end()) continue;
    Guest& guest = *at->second;
    if (shared_.peers.admits(guest.newcomer.address) &&
        shared_.peers.allow_silent(guest.newcomer.address)) {
      guest.may_stay_silent = true;
      continue;
    }
    shared_.refusals.count(Refusal::kNoFirstBytes, guest.newcomer.address);
    leave(id);
    ++closed;
  }
  // Those that left in time need no timer of their own.
  while (!deadlines_.empty() && !guests_.contains(deadlines_.front().second))
    deadlines_.pop_front();
  arm_deadline();
}

}  // namespace megalaunch
