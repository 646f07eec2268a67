#include "rendezvous/store/store_worker.h"

#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/error.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <cerrno>

#include "rendezvous/store/charged_buffer.h"
#include "rendezvous/store/session.h"

namespace megalaunch {
namespace asio = boost::asio;

namespace {

constexpr size_t kInputBytes = 256 * 1024;
// The shared output buffer is given back when a reply made it larger than this.
constexpr size_t kOutputKept = 4 << 20;
// How long the second half of an L2 APPEND may take; the front half alone is an L1 DELETE_KEY.
constexpr auto kSilence = milliseconds(20);

}  // namespace

class StoreWorker::Connection : public boost::intrusive::list_base_hook<
                                    boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
 public:
  Connection(StoreWorker& worker, Newcomer newcomer, Ticket self)
      : socket(worker.context_),
        address(newcomer.address),
        generation(newcomer.generation.number),
        slot(self.slot),
        serial(self.serial),
        partial(worker.shared_.budget),
        unsent(worker.shared_.budget),
        session(std::move(newcomer.generation.keys), worker.shared_.limits,
                worker.shared_.expected_dialect, self, worker) {}

  asio::posix::stream_descriptor socket;
  const PeerAddress address;
  const uint64_t generation;
  const uint32_t slot;
  const uint32_t serial;
  bool dialect_noted = false;
  bool counts_as_legacy = false;
  bool awaits_readable = false;
  bool awaits_writable = false;
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
  asio::post(context_, [this] { empty_mailbox(); });
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
  for (Newcomer& newcomer : newcomers) open(std::move(newcomer));
  deliver(wakes);
  for (const auto& [ticket, bytes] : pushes)
    if (Connection* connection = find(ticket.slot, ticket.serial)) send(*connection, bytes);
  flush_wakes();
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
    if (outgoing_[thread].empty() || thread == index_) continue;
    workers_[thread]->leave([&](Mailbox& mailbox) {
      mailbox.wakes.insert(mailbox.wakes.end(), outgoing_[thread].begin(), outgoing_[thread].end());
    });
    outgoing_[thread].clear();
  }
  deliver(outgoing_[index_]);
  outgoing_[index_].clear();
}

void StoreWorker::deliver(const std::vector<Ticket>& wakes) {
  for (const Ticket& ticket : wakes) {
    Connection* connection = find(ticket.slot, ticket.serial);
    if (connection == nullptr) continue;
    output_.clear();
    connection->session.wake(ticket, output_);
    if (!output_.empty()) send(*connection, output_);
  }
}

// ---- coming and going ----

StoreWorker::Connection* StoreWorker::find(uint32_t slot, uint32_t serial) {
  Connection* connection = slot < slots_.size() ? slots_[slot].get() : nullptr;
  return connection != nullptr && connection->serial == serial ? connection : nullptr;
}

void StoreWorker::open(Newcomer newcomer) {
  // Accepted before start_generation() or shut_down(), and on its way here since.
  if (shut_ || newcomer.generation.number < shared_.generation().number) {
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
  UniqueFd socket = std::move(newcomer.socket);
  slots_[slot] = std::make_unique<Connection>(*this, std::move(newcomer),
                                              Ticket{index_, slot, ++next_serial_, 0});
  boost::system::error_code error;
  slots_[slot]->socket.assign(socket.get(), error);
  if (error) return close(*slots_[slot]);
  socket.release();
  on_readable(*slots_[slot]);
}

void StoreWorker::close(Connection& connection) {
  if (connection.counts_as_legacy) shared_.peers.legacy_closed(connection.address);
  shared_.connections.fetch_sub(1, std::memory_order_relaxed);
  const uint32_t slot = connection.slot;
  free_slots_.push_back(slot);
  slots_[slot].reset();
}

void StoreWorker::refuse_connection(Connection& connection, Refusal refusal) {
  shared_.refusals.count(refusal, connection.address);
  close(connection);
}

template <class Predicate>
void StoreWorker::close_where(Predicate predicate) {
  for (size_t slot = 0; slot < slots_.size(); ++slot)
    if (slots_[slot] && predicate(*slots_[slot])) close(*slots_[slot]);
}

void StoreWorker::close_generations_before(uint64_t generation) {
  asio::post(context_, [this, generation] {
    close_where([&](const Connection& connection) { return connection.generation < generation; });
  });
}

void StoreWorker::close_not_admitted() {
  asio::post(context_, [this] {
    close_where(
        [&](const Connection& connection) { return !shared_.peers.admits(connection.address); });
  });
}

void StoreWorker::shut_down() {
  asio::post(context_, [this] {
    shut_ = true;
    close_where([](const Connection&) { return true; });
    sweep_timer_.cancel();
    work_.reset();
  });
}

// ---- reading ----

void StoreWorker::await_readable(Connection& connection) {
  if (std::exchange(connection.awaits_readable, true)) return;
  connection.socket.async_wait(
      asio::posix::stream_descriptor::wait_read,
      [this, slot = connection.slot, serial = connection.serial](const boost::system::error_code&) {
        if (Connection* found = find(slot, serial)) on_readable(*found);
      });
}

void StoreWorker::on_readable(Connection& connection) {
  connection.awaits_readable = false;
  if (!connection.unsent.empty()) return;  // first the replies: on_writable() comes back to reading
  const ssize_t received =
      ::recv(connection.socket.native_handle(), input_.get(), kInputBytes, MSG_DONTWAIT);
  if (received < 0 && (errno == EAGAIN || errno == EINTR)) return await_readable(connection);
  if (received <= 0) return close(connection);

  std::string_view bytes(input_.get(), static_cast<size_t>(received));
  counts_.bytes_in.fetch_add(bytes.size(), std::memory_order_relaxed);
  if (!connection.partial.empty()) {
    if (!connection.partial.append(bytes, connection.session.needed_bytes()))
      return refuse_connection(connection, Refusal::kOutOfMemory);
    bytes = connection.partial.view();
  }
  if (serve(connection, bytes) && connection.unsent.empty()) await_readable(connection);
  flush_wakes();
}

/// Executes what is whole and keeps the rest. `bytes` are the connection's partial bytes, or come
/// straight from the input buffer when it has none. False: the connection is closed, and gone.
bool StoreWorker::serve(Connection& connection, std::string_view bytes) {
  bool executed_any = false;
  Session::Progress progress{};
  do {
    const uint64_t before = connection.session.operations();
    output_.clear();
    progress = connection.session.receive(bytes, output_);
    bytes.remove_prefix(progress.consumed);
    const uint64_t executed = connection.session.operations() - before;
    executed_any |= executed > 0;
    counts_.operations.fetch_add(executed, std::memory_order_relaxed);
    if (!output_.empty() && !send(connection, output_)) return false;
    if (output_.capacity() > kOutputKept) std::string().swap(output_);
  } while (progress.stop == Session::Stop::kOutputFull && connection.unsent.empty());

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
  if (!bytes.empty() && (executed_any || !was_half))
    connection.owing_since = shared_.clock.steady();
  if (progress.stop == Session::Stop::kAmbiguous) await_silence(connection);
  update_debt(connection);
  return true;
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
  auto timer = std::make_shared<asio::steady_timer>(context_, kSilence);
  timer->async_wait(
      [this, timer, slot = connection.slot, serial = connection.serial,
       operations = connection.session.operations()](const boost::system::error_code&) {
        Connection* found = find(slot, serial);
        if (found == nullptr || found->session.operations() != operations || found->partial.empty())
          return;
        found->session.decide_by_silence();
        serve(*found, found->partial.view());
        flush_wakes();
      });
}

// ---- writing ----

void StoreWorker::await_writable(Connection& connection) {
  if (std::exchange(connection.awaits_writable, true)) return;
  connection.socket.async_wait(
      asio::posix::stream_descriptor::wait_write,
      [this, slot = connection.slot, serial = connection.serial](const boost::system::error_code&) {
        if (Connection* found = find(slot, serial)) on_writable(*found);
      });
}

/// Sends what the kernel takes now and keeps the rest. False: the connection is closed, and gone.
bool StoreWorker::send(Connection& connection, std::string_view bytes) {
  if (connection.unsent.empty()) {
    const ssize_t sent = ::send(connection.socket.native_handle(), bytes.data(), bytes.size(),
                                MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) {
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
  await_writable(connection);
  return true;
}

void StoreWorker::on_writable(Connection& connection) {
  connection.awaits_writable = false;
  const auto bytes = connection.unsent.view();
  const ssize_t sent = ::send(connection.socket.native_handle(), bytes.data(), bytes.size(),
                              MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent < 0 && errno != EAGAIN && errno != EINTR) return close(connection);
  if (sent > 0) {
    counts_.bytes_out.fetch_add(static_cast<uint64_t>(sent), std::memory_order_relaxed);
    connection.unsent.consume(static_cast<size_t>(sent));
    connection.owing_since = shared_.clock.steady();
  }
  if (!connection.unsent.empty()) return await_writable(connection);
  // Requests that came while the replies piled up, then back to reading.
  update_debt(connection);
  if (connection.partial.empty() || serve(connection, connection.partial.view())) {
    if (connection.unsent.empty()) await_readable(connection);
  }
  flush_wakes();
}

// ---- deadlines ----

void StoreWorker::update_debt(Connection& connection) {
  const bool owes = !connection.partial.empty() || !connection.unsent.empty();
  if (owes == connection.is_linked()) return;
  if (!owes) return connection.unlink();
  debtors_->push_back(connection);
  arm_sweep();
}

void StoreWorker::arm_sweep() {
  if (std::exchange(sweep_armed_, true)) return;
  const auto shortest = std::min(shared_.limits.half_frame, shared_.limits.stalled_reply);
  sweep_timer_.expires_after(std::clamp(shortest / 4, milliseconds(5), milliseconds(1000)));
  sweep_timer_.async_wait([this](const boost::system::error_code& error) {
    sweep_armed_ = false;
    if (!error) sweep();
  });
}

void StoreWorker::sweep() {
  const auto now = shared_.clock.steady();
  for (auto at = debtors_->begin(); at != debtors_->end();) {
    Connection& connection = *at++;
    const bool stalled = !connection.unsent.empty();
    const auto deadline = stalled ? shared_.limits.stalled_reply : shared_.limits.half_frame;
    if (now - connection.owing_since > deadline)
      refuse_connection(connection, stalled ? Refusal::kStalledReply : Refusal::kHalfFrame);
  }
  if (!debtors_->empty()) arm_sweep();
}

}  // namespace megalaunch
