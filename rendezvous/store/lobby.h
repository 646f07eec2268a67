#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "rendezvous/store/store_shared.h"
#include "rendezvous/store/store_worker.h"

namespace megalaunch {

/// Accepts, and holds every connection until its first bytes are there: then it is known whose it
/// is, and the store's go to the workers in turn. The silent second connections of legacy clients
/// stay here for their whole life, so that they take no worker's turn. Lives on the first worker's
/// thread.
class Lobby final : private EventLoop::Source {
 public:
  struct Foreign {
    std::string magic;  ///< empty: there are no foreign connections
    std::function<void(UniqueFd)> take;
  };

  /// `shared` and `workers` outlive it.
  Lobby(StoreShared& shared, const std::vector<std::unique_ptr<StoreWorker>>& workers,
        UniqueFd listening, Foreign foreign);
  ~Lobby();

  // From any thread:
  void start_generation();
  void shut_down();
  uint64_t foreign_count() const { return foreign_count_.load(std::memory_order_relaxed); }

 private:
  struct Guest;
  enum class Verdict { kWait, kGone };

  void on_ready(uint32_t events) override;
  void pause_accepting(int error);
  bool accept_one(std::vector<Newcomer>& accepted);
  void receive_guests(std::vector<Newcomer> accepted);
  Verdict look_at(Newcomer& newcomer);
  void seat(Newcomer newcomer);
  void on_first_bytes(Guest& guest, uint32_t events);
  void leave(uint64_t id);
  void leave_silent(uint64_t generation);
  void turn_away(const Newcomer& newcomer, Refusal refusal);
  void hand_over();
  void arm_deadline();
  void on_deadline();

  StoreShared& shared_;
  const std::vector<std::unique_ptr<StoreWorker>>& workers_;
  const Foreign foreign_;
  EventLoop& loop_;
  UniqueFd listening_;
  SteadyTime next_accept_warning_{};
  bool deadline_armed_ = false;
  bool shut_ = false;

  // Held while connections are taken from the kernel's queue, so that start_generation() finds a
  // point between the connections of the old generation and the new.
  std::mutex accept_mutex_;

  std::unordered_map<uint64_t, std::unique_ptr<Guest>> guests_;
  uint64_t next_guest_ = 0;
  std::deque<std::pair<SteadyTime, uint64_t>> deadlines_;  // in order
  std::vector<std::vector<Newcomer>> leaving_;             // to each worker, in one go
  size_t next_worker_ = 0;
  std::atomic<uint64_t> foreign_count_{0};
};

}  // namespace megalaunch
