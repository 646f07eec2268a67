#pragma once

#include <atomic>
#include <boost/intrusive/list.hpp>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "rendezvous/store/event_loop.h"
#include "rendezvous/store/store_shared.h"
#include "rendezvous/store/waiting.h"

namespace megalaunch {

/// One thread's share of the connections. Everything of a connection happens on the thread that
/// runs loop(); other threads only leave things in the mailbox, at the cost of one post for
/// everything that arrives before it is emptied. What concerns many connections or keys at once is
/// done in pieces, so that no request waits for long behind it.
class StoreWorker final : public Wakeups {
 public:
  /// `shared` and `workers` (all of them, this one at `index`) outlive it.
  StoreWorker(StoreShared& shared, const std::vector<std::unique_ptr<StoreWorker>>& workers,
              uint32_t index);
  ~StoreWorker() override;

  EventLoop& loop() { return loop_; }

  // From any thread:
  void adopt(std::vector<Newcomer> newcomers);
  void close_generations_before(uint64_t generation);
  void close_not_admitted();
  void shut_down();

  struct Counts {
    std::atomic<uint64_t> operations{0};
    std::atomic<uint64_t> bytes_in{0};
    std::atomic<uint64_t> bytes_out{0};
  };
  const Counts& counts() const { return counts_; }

  // Wakeups, called by the sessions of this worker with locks of a key space held:
  void wake(const Ticket& ticket) override;
  void push(const Ticket& ticket, std::string bytes) override;

 private:
  class Connection;
  struct Mailbox {
    std::mutex mutex;
    bool posted = false;
    std::vector<Newcomer> newcomers;
    std::vector<Ticket> wakes;
    std::vector<std::pair<Ticket, std::string>> pushes;
  };

  template <class Fill>
  void leave(Fill fill);
  void empty_mailbox();
  void receive_some();
  void flush_wakes();
  void deliver_some();

  void open(Newcomer newcomer);
  void close(Connection& connection);
  void refuse_connection(Connection& connection, Refusal refusal);
  void close_where(std::function<bool(const Connection&)> predicate, size_t from = 0);
  Connection* find(uint32_t slot, uint32_t serial);

  void on_ready(Connection& connection, uint32_t events);
  void read(Connection& connection);
  void read_last();
  void on_writable(Connection& connection);
  bool serve(Connection& connection, std::string_view bytes);
  bool keep(Connection& connection, std::string_view rest);
  bool send(Connection& connection, std::string_view bytes);
  void note_dialect(Connection& connection);
  void go_on_later(Connection& connection);
  void go_on(Connection& connection);
  void await_silence(Connection& connection);
  void update_debt(Connection& connection);
  milliseconds sweep_interval() const;
  void arm_sweep(milliseconds wait);
  void sweep();

  StoreShared& shared_;
  const std::vector<std::unique_ptr<StoreWorker>>& workers_;
  const uint32_t index_;
  EventLoop loop_;

  std::vector<std::unique_ptr<Connection>> slots_;
  std::vector<uint32_t> free_slots_;
  uint32_t next_serial_ = 0;
  bool shut_ = false;

  // Connections that owe us the rest of a request, or that we owe replies: the only ones with a
  // deadline.
  using Debtors = boost::intrusive::list<Connection, boost::intrusive::constant_time_size<false>>;
  std::unique_ptr<Debtors> debtors_;
  bool sweep_armed_ = false;

  // Hung up by the peer, with perhaps a last request to read.
  std::deque<std::pair<uint32_t, uint32_t>> hung_up_;  // slot and serial
  bool last_reads_posted_ = false;

  // One of each for all connections: only what could not be finished is kept with a connection.
  std::unique_ptr<char[]> input_;
  std::string output_;
  std::vector<std::vector<Ticket>> outgoing_;  // wake-ups per thread, not yet on their way
  bool any_outgoing_ = false;
  std::vector<Ticket> undelivered_;  // of this thread
  size_t next_undelivered_ = 0;
  bool delivery_posted_ = false;

  Mailbox mailbox_;
  // Out of the mailbox, and waiting for their turn.
  std::deque<Newcomer> newcomers_;
  std::deque<std::pair<Ticket, std::string>> pushes_;
  bool receipt_posted_ = false;
  Counts counts_;
};

}  // namespace megalaunch
