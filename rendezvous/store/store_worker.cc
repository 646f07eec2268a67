#include "rendezvous/store/store_worker.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "rendezvous/store/charged_buffer.h"
#include "rendezvous/store/session.h"

namespace megalaunch {
namespace {

constexpr size_t kInputBytes = 256 * 1024;
constexpr uint32_t kEdges = EPOLLIN | EPOLLRDHUP | EPOLLET;
constexpr uint32_t kHungUp = EPOLLRDHUP | EPOLLHUP | EPOLLERR;
// The shared output buffer is given back when a reply made it larger than this.
constexpr size_t kOutputKept = 4 << 20;
// How long the second half of an L2 APPEND may take; the front half alone is an L1 DELETE_KEY.
constexpr auto kSilence = milliseconds(20);
// What is done at a time before whoever is ready gets a turn: some milliseconds at most.
constexpr size_t kOpenedAtATime = 128;
constexpr size_t kPushesAtATime = 256;
constexpr size_t kWakesAtATime = 256;
constexpr size_t kClosedAtATime = 128;
constexpr size_t kClosedInACrowd = 4;
constexpr size_t kSlotsAtATime = 8192;

template <class Call>
ssize_t retry(Call call) {
  for (;;) {
    const ssize_t result = call();
    if (result >= 0 || errno != EINTR) return result;
  }
}

ssize_t send_now(const UniqueFd& socket, std::string_view bytes) {
  return retry([&] {
    return ::send(socket.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  });
}

}  // namespace

class StoreWorker::Connection final
    : public EventLoop::Source,
      public boost::intrusive::list_base_hook<
          boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
 public:
  Connection(StoreWorker& the_worker, Newcomer newcomer, Ticket self)
      : worker(the_worker),
        socket(std::move(newcomer.socket)),
        address(newcomer.address),
        generation(newcomer.generation.number),
        slot(self.slot),
        serial(self.serial),
        partial(worker.shared_.budget),
        unsent(worker.shared_.budget),
        session(std::move(newcomer.generation.keys), worker.shared_.limits,
                worker.shared_.expected_dialect, self, worker) {}

  void on_ready(uint32_t events) override { worker.on_ready(*this, events); }

  StoreWorker& worker;
  const UniqueFd socket;
  const PeerAddress address;
  const uint64_t generation;
  const uint32_t slot;
  const uint32_t serial;
  bool hung_up = false;
  bool readable = false;     // there may be bytes, or the end, that the kernel tells of only once
  bool awaits_room = false;  // the kernel tells when it takes replies again
  bool dialect_noted = false;
  bool counts_as_legacy = false;
  bool goes_on = false;  // has a task in the loop: nothing is read before that ran
  SteadyTime
      owing_since{};  // the half request's first byte, or the last reply byte that the peer took
  ChargedBuffer partial;  // received, not consumed
  ChargedBuffer unsent;   // replies
  Session session;
};

StoreWorker::StoreWorker(StoreShared& shared,
                         const std::vector<std::unique_ptr<StoreWorker>>& workers, uint32_t index)
    : shared_(shared),
      workers_(workers),
      index_(index),
      debtors_(std::make_unique<Debtors>()),
      input_(std::make_unique<char[]>(kInputBytes)) {}

StoreWorker::~StoreWorker() = default;

// ---- the mailbox ----

template <class Fill>
void StoreWorker::leave(Fill fill) {
  {
    const std::lock_guard lock(mailbox_.mutex);
    fill(mailbox_);
    if (std::exchange(mailbox_.posted, true)) return;
  }
  loop_.post([this] { empty_mailbox(); });
}

void StoreWorker::empty_mailbox() {
  std::vector<Newcomer> newcomers;
  std::vector<Ticket> wakes;
  std::vector<std::pair<Ticket, std::string>> pushes;
  {
    const std::lock_guard lock(mailbox_.mutex);
    mailbox_.posted = false;
    newcomers.swap(mailbox_.newcomers);
    wakes.swap(mailbox_.wakes);
    pushes.swap(mailbox_.pushes);
  }
  std::move(newcomers.begin(), newcomers.end(), std::back_inserter(newcomers_));
  std::move(pushes.begin(), pushes.end(), std::back_inserter(pushes_));
  undelivered_.insert(undelivered_.end(), wakes.begin(), wakes.end());
  receive_some();
  flush_wakes();
  deliver_some();
}

/// The lobby accepts faster than connections are opened, and all ranks of a job may watch one key.
void StoreWorker::receive_some() {
  if (receipt_posted_) return;
  for (size_t left = kOpenedAtATime; left > 0 && !newcomers_.empty(); --left) {
    Newcomer newcomer = std::move(newcomers_.front());
    newcomers_.pop_front();
    open(std::move(newcomer));
  }
  for (size_t left = kPushesAtATime; left > 0 && !pushes_.empty(); --left) {
    const auto [ticket, bytes] = std::move(pushes_.front());
    pushes_.pop_front();
    if (Connection* connection = find(ticket.slot, ticket.serial)) send(*connection, bytes);
  }
  receipt_posted_ = !newcomers_.empty() || !pushes_.empty();
  if (!receipt_posted_) return;
  loop_.later([this] {
    receipt_posted_ = false;
    receive_some();
  });
}

void StoreWorker::adopt(std::vector<Newcomer> newcomers) {
  leave([&](Mailbox& mailbox) {
    std::move(newcomers.begin(), newcomers.end(), std::back_inserter(mailbox.newcomers));
  });
}

void StoreWorker::wake(const Ticket& ticket) {
  outgoing_[ticket.thread].push_back(ticket);
  any_outgoing_ = true;
}

// At once, and not with the wake-ups: under the lock of the key the order of the changes is the
// order of the pushes.
void StoreWorker::push(const Ticket& ticket, std::string bytes) {
  workers_[ticket.thread]->leave(
      [&](Mailbox& mailbox) { mailbox.pushes.emplace_back(ticket, std::move(bytes)); });
}

// The last thing that a handler does: deliveries may close any connection.
void StoreWorker::flush_wakes() {
  if (!std::exchange(any_outgoing_, false)) return;
  for (uint32_t thread = 0; thread < outgoing_.size(); ++thread) {
    auto& wakes = outgoing_[thread];
    if (wakes.empty()) continue;
    if (thread == index_)
      undelivered_.insert(undelivered_.end(), wakes.begin(), wakes.end());
    else
      workers_[thread]->leave([&](Mailbox& mailbox) {
        mailbox.wakes.insert(mailbox.wakes.end(), wakes.begin(), wakes.end());
      });
    wakes.clear();
  }
  deliver_some();
}

/// One SET may end the waits of every rank of a job.
void StoreWorker::deliver_some() {
  if (delivery_posted_) return;
  const size_t end = std::min(undelivered_.size(), next_undelivered_ + kWakesAtATime);
  while (next_undelivered_ < end) {
    const Ticket ticket = undelivered_[next_undelivered_++];
    Connection* connection = find(ticket.slot, ticket.serial);
    if (connection == nullptr) continue;
    output_.clear();
    connection->session.wake(ticket, output_);
    if (!output_.empty()) send(*connection, output_);
  }
  if (next_undelivered_ == undelivered_.size()) {
    undelivered_.clear();
    next_undelivered_ = 0;
    return;
  }
  delivery_posted_ = true;
  loop_.later([this] {
    delivery_posted_ = false;
    deliver_some();
  });
}

// ---- coming and going ----

StoreWorker::Connection* StoreWorker::find(uint32_t slot, uint32_t serial) {
  Connection* connection = slot < slots_.size() ? slots_[slot].get() : nullptr;
  return connection != nullptr && connection->serial == serial ? connection : nullptr;
}

void StoreWorker::open(Newcomer newcomer) {
  // Accepted before start_generation(), admit_only() or shut_down(), and on its way here since.
  if (shut_ || newcomer.generation.number < shared_.generation().number ||
      !shared_.peers.admits(newcomer.address)) {
    shared_.connections.fetch_sub(1, std::memory_order_relaxed);
    return;
  }
  if (outgoing_.empty()) outgoing_.resize(workers_.size());
  if (free_slots_.empty()) {
    free_slots_.push_back(static_cast<uint32_t>(slots_.size()));
    slots_.emplace_back();
  }
  const uint32_t slot = free_slots_.back();
  free_slots_.pop_back();
  slots_[slot] = std::make_unique<Connection>(*this, std::move(newcomer),
                                              Ticket{index_, slot, ++next_serial_, 0});
  Connection& connection = *slots_[slot];
  if (!loop_.watch(connection.socket.get(), kEdges, connection)) return close(connection);
  connection.readable = true;
  read(connection);
}

void StoreWorker::close(Connection& connection) {
  if (connection.counts_as_legacy) shared_.peers.legacy_closed(connection.address);
  loop_.forget(connection.socket.get(), connection);
  const uint32_t slot = connection.slot;
  slots_[slot].reset();
  free_slots_.push_back(slot);
  shared_.connections.fetch_sub(1, std::memory_order_relaxed);  // last: what it held is free
}

void StoreWorker::refuse_connection(Connection& connection, Refusal refusal) {
  shared_.refusals.count(refusal, connection.address);
  close(connection);
}

void StoreWorker::close_where(std::function<bool(const Connection&)> predicate, size_t from) {
  size_t slot = from;
  const size_t end = std::min(slots_.size(), from + kSlotsAtATime);
  for (size_t closed = 0; slot < end && closed < kClosedAtATime; ++slot) {
    if (!slots_[slot] || !predicate(*slots_[slot])) continue;
    close(*slots_[slot]);
    ++closed;
  }
  if (slot == slots_.size()) return;
  loop_.later([this, slot, predicate = std::move(predicate)] { close_where(predicate, slot); });
}

void StoreWorker::close_generations_before(uint64_t generation) {
  loop_.post([this, generation] {
    close_where(
        [generation](const Connection& connection) { return connection.generation < generation; });
  });
}

void StoreWorker::close_not_admitted() {
  loop_.post([this] {
    close_where(
        [this](const Connection& connection) { return !shared_.peers.admits(connection.address); });
  });
}

void StoreWorker::shut_down() {
  loop_.post([this] {
    shut_ = true;
    for (const auto& connection : slots_)
      if (connection) close(*connection);
  });
  loop_.stop();
}

// ---- reading ----

void StoreWorker::on_ready(Connection& connection, uint32_t events) {
  if ((events & kHungUp) != 0) {
    // When a job ends, all its ranks hang up at once: those who ask go first.
    hung_up_.emplace_back(connection.slot, connection.serial);
    if (!std::exchange(last_reads_posted_, true)) loop_.later([this] { read_last(); });
    return;
  }
  connection.readable |= (events & EPOLLIN) != 0;
  if (!connection.unsent.empty() && (events & EPOLLOUT) != 0) return on_writable(connection);
  read(connection);
}

/// Of those who hung up, some at a time: what they still said, and then they are closed.
void StoreWorker::read_last() {
  size_t left = loop_.crowded() ? kClosedInACrowd : kClosedAtATime;
  for (; left > 0 && !hung_up_.empty(); --left) {
    Connection* connection = find(hung_up_.front().first, hung_up_.front().second);
    hung_up_.pop_front();
    if (connection == nullptr) continue;
    connection->hung_up = connection->readable = true;
    if (!connection->unsent.empty())
      on_writable(*connection);
    else if (!connection->goes_on)
      go_on(*connection);
  }
  last_reads_posted_ = !hung_up_.empty();
  if (last_reads_posted_) loop_.later([this] { read_last(); });
}

/// Once: whoever sends without end gets its next turn when others had theirs.
void StoreWorker::read(Connection& connection) {
  if (!connection.readable || connection.goes_on || !connection.unsent.empty()) return;
  const ssize_t received = retry(
      [&] { return ::recv(connection.socket.get(), input_.get(), kInputBytes, MSG_DONTWAIT); });
  connection.readable = received == kInputBytes || (received > 0 && connection.hung_up);
  if (received < 0 && errno == EAGAIN) return;
  if (received <= 0) return close(connection);

  std::string_view bytes(input_.get(), static_cast<size_t>(received));
  counts_.bytes_in.fetch_add(bytes.size(), std::memory_order_relaxed);
  if (!connection.partial.empty()) {
    if (!connection.partial.append(bytes, connection.session.needed_bytes()))
      return refuse_connection(connection, Refusal::kOutOfMemory);
    bytes = connection.partial.view();
  }
  if (serve(connection, bytes) && connection.readable) go_on_later(connection);
  flush_wakes();
}

/// Executes what is whole and keeps the rest. `bytes` are the connection's partial bytes, or come
/// straight from the input buffer when it has none. False: the connection is closed, and gone.
bool StoreWorker::serve(Connection& connection, std::string_view bytes) {
  const uint64_t before = connection.session.operations();
  output_.clear();
  const Session::Progress progress = connection.session.receive(bytes, output_);
  bytes.remove_prefix(progress.consumed);
  const uint64_t executed = connection.session.operations() - before;
  counts_.operations.fetch_add(executed, std::memory_order_relaxed);
  if (!output_.empty() && !send(connection, output_)) return false;
  if (output_.capacity() > kOutputKept) std::string().swap(output_);

  note_dialect(connection);
  if (progress.stop == Session::Stop::kRefused) {
    refuse_connection(connection, connection.session.refusal());
    return false;
  }
  const bool was_half = !connection.partial.empty();
  if (!keep(connection, bytes)) {
    refuse_connection(connection, Refusal::kOutOfMemory);
    return false;
  }
  if (!bytes.empty() && (executed > 0 || !was_half))
    connection.owing_since = shared_.clock.steady();
  if (progress.stop == Session::Stop::kAmbiguous) await_silence(connection);
  if (progress.stop == Session::Stop::kOutputFull || progress.stop == Session::Stop::kMoreWork)
    go_on_later(connection);
  update_debt(connection);
  return true;
}

/// The connection goes on with what it has when others had their turn; with replies unsent, when
/// those are gone (on_writable).
void StoreWorker::go_on_later(Connection& connection) {
  if (!connection.unsent.empty() || std::exchange(connection.goes_on, true)) return;
  loop_.later([this, slot = connection.slot, serial = connection.serial] {
    Connection* found = find(slot, serial);
    if (found == nullptr) return;
    found->goes_on = false;
    go_on(*found);
  });
}

void StoreWorker::go_on(Connection& connection) {
  if (!connection.unsent.empty()) return;
  const bool has_work = !connection.partial.empty() || connection.session.busy();
  if (!has_work || serve(connection, connection.partial.view())) read(connection);
  flush_wakes();
}

bool StoreWorker::keep(Connection& connection, std::string_view rest) {
  if (connection.partial.empty())
    return rest.empty() || connection.partial.append(rest, connection.session.needed_bytes());
  connection.partial.consume(connection.partial.view().size() - rest.size());
  if (!connection.partial.empty()) connection.partial.compact();
  return true;
}

void StoreWorker::note_dialect(Connection& connection) {
  if (connection.dialect_noted || !connection.session.dialect()) return;
  connection.dialect_noted = true;
  if (connection.session.dialect() == Dialect::kMagic) return;
  connection.counts_as_legacy = true;
  shared_.peers.legacy_opened(connection.address);
}

void StoreWorker::await_silence(Connection& connection) {
  loop_.call_at(
      shared_.clock.steady() + kSilence, [this, slot = connection.slot, serial = connection.serial,
                                          operations = connection.session.operations()] {
        Connection* found = find(slot, serial);
        if (found == nullptr || found->session.operations() != operations || found->partial.empty())
          return;
        found->session.decide_by_silence();
        serve(*found, found->partial.view());
        flush_wakes();
      });
}

// ---- writing ----

/// Sends what the kernel takes now and keeps the rest. False: the connection is closed, and gone.
bool StoreWorker::send(Connection& connection, std::string_view bytes) {
  if (connection.unsent.empty()) {
    const ssize_t sent = send_now(connection.socket, bytes);
    if (sent < 0 && errno != EAGAIN) {
      close(connection);
      return false;
    }
    const size_t taken = sent < 0 ? 0 : static_cast<size_t>(sent);
    counts_.bytes_out.fetch_add(taken, std::memory_order_relaxed);
    bytes.remove_prefix(taken);
    if (bytes.empty()) return true;
    connection.owing_since = shared_.clock.steady();
  }
  if (connection.unsent.view().size() + bytes.size() > shared_.limits.queued_bytes) {
    refuse_connection(connection, Refusal::kQueueFull);
    return false;
  }
  if (!connection.unsent.append(bytes)) {
    refuse_connection(connection, Refusal::kOutOfMemory);
    return false;
  }
  update_debt(connection);
  if (!std::exchange(connection.awaits_room, true))
    loop_.change(connection.socket.get(), kEdges | EPOLLOUT, connection);
  return true;
}

void StoreWorker::on_writable(Connection& connection) {
  const ssize_t sent = send_now(connection.socket, connection.unsent.view());
  if (sent < 0 && errno != EAGAIN) return close(connection);
  if (sent > 0) {
    counts_.bytes_out.fetch_add(static_cast<uint64_t>(sent), std::memory_order_relaxed);
    connection.unsent.consume(static_cast<size_t>(sent));
    connection.owing_since = shared_.clock.steady();
  }
  if (!connection.unsent.empty()) return;
  update_debt(connection);
  go_on(connection);  // with what waited while the replies piled up
}

void StoreWorker::update_debt(Connection& connection) {
  const bool owes = !connection.partial.empty() || !connection.unsent.empty();
  if (owes == connection.is_linked()) return;
  if (!owes) return connection.unlink();
  debtors_->push_back(connection);
  arm_sweep(sweep_interval());
}

// ---- deadlines ----

milliseconds StoreWorker::sweep_interval() const {
  const auto shortest = std::min(shared_.limits.half_frame, shared_.limits.stalled_reply);
  return std::clamp(shortest / 4, milliseconds(5), milliseconds(1000));
}

void StoreWorker::arm_sweep(milliseconds wait) {
  if (std::exchange(sweep_armed_, true)) return;
  loop_.call_at(shared_.clock.steady() + wait, [this] {
    sweep_armed_ = false;
    sweep();
  });
}

void StoreWorker::sweep() {
  const auto now = shared_.clock.steady();
  size_t closed = 0;
  for (auto at = debtors_->begin(); at != debtors_->end() && closed < kClosedAtATime;) {
    Connection& connection = *at++;
    const bool stalled = !connection.unsent.empty();
    const auto deadline = stalled ? shared_.limits.stalled_reply : shared_.limits.half_frame;
    if (now - connection.owing_since <= deadline) continue;
    refuse_connection(connection, stalled ? Refusal::kStalledReply : Refusal::kHalfFrame);
    ++closed;
  }
  if (!debtors_->empty()) arm_sweep(closed == kClosedAtATime ? milliseconds(0) : sweep_interval());
}

}  // namespace megalaunch
