#pragma once

#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/intrusive/list.hpp>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "rendezvous/store/store_shared.h"
#include "rendezvous/store/waiting.h"

namespace megalaunch {

/// One thread's share of the connections. Everything of a connection happens on the thread that
/// runs context(); other threads only leave things in the mailbox, at the cost of one post for
/// everything that arrives before it is emptied.
class StoreWorker final : public Wakeups {
 public:
  /// `shared` and `workers` (all of them, this one at `index`) outlive it.
  StoreWorker(StoreShared& shared, const std::vector<std::unique_ptr<StoreWorker>>& workers,
              uint32_t index);
  ~StoreWorker() override;

  boost::asio::io_context& context() { return context_; }

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
  void flush_wakes();
  void deliver(const std::vector<Ticket>& wakes);

  void open(Newcomer newcomer);
  void close(Connection& connection);
  void refuse_connection(Connection& connection, Refusal refusal);
  template <class Predicate>
  void close_where(Predicate predicate);
  Connection* find(uint32_t slot, uint32_t serial);

  void await_readable(Connection& connection);
  void await_writable(Connection& connection);
  void on_readable(Connection& connection);
  void on_writable(Connection& connection);
  bool serve(Connection& connection, std::string_view bytes);
  bool keep(Connection& connection, std::string_view rest);
  bool send(Connection& connection, std::string_view bytes);
  void note_dialect(Connection& connection);
  void await_silence(Connection& connection);
  void update_debt(Connection& connection);
  void arm_sweep();
  void sweep();

  StoreShared& shared_;
  const std::vector<std::unique_ptr<StoreWorker>>& workers_;
  const uint32_t index_;
  boost::asio::io_context context_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_{
      context_.get_executor()};

  std::vector<std::unique_ptr<Connection>> slots_;
  std::vector<uint32_t> free_slots_;
  uint32_t next_serial_ = 0;
  bool shut_ = false;

  // Connections that owe us the rest of a request, or that we owe replies: the only ones with a
  // deadline.
  using Debtors = boost::intrusive::list<Connection, boost::intrusive::constant_time_size<false>>;
  std::unique_ptr<Debtors> debtors_;
  boost::asio::steady_timer sweep_timer_{context_};
  bool sweep_armed_ = false;

  // One of each for all connections: only what could not be finished is kept with a connection.
  std::unique_ptr<char[]> input_;
  std::string output_;
  std::vector<std::vector<Ticket>> outgoing_;  // wake-ups per thread, not yet on their way
  bool any_outgoing_ = false;

  Mailbox mailbox_;
  Counts counts_;
};

}  // namespace megalaunch
