#pragma once

#include <sys/epoll.h>

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <vector>

#include "env/clock.h"
#include "env/unique_fd.h"

namespace megalaunch {

/// What one thread of the store waits for: descriptors, tasks, moments in time. A descriptor is
/// registered once and never armed again, so a request costs its epoll_wait, recv and send and
/// nothing else (Asio arms a descriptor for each wait: one call more). While requests follow each
/// other faster than a thread falls asleep and wakes, it stays awake between them; the first that
/// is late by some microseconds finds it asleep again.
class EventLoop {
 public:
  /// What a watched descriptor belongs to.
  class Source {
   public:
    /// `events` as of epoll. May forget and destroy any source, this one included.
    virtual void on_ready(uint32_t events) = 0;

   protected:
    ~Source() = default;
  };
  using Task = std::function<void()>;

  /// Throws std::system_error where the kernel has no descriptors left.
  EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  /// Returns after stop(). Tasks that did not run by then never will.
  void run();

  // From any thread:
  void post(Task task);
  void stop();

  // On the thread of run(), or before it starts:
  /// Descriptor and source stay alive until forget(). False: errno tells.
  bool watch(int fd, uint32_t events, Source& source);
  void change(int fd, uint32_t events, Source& source);
  void forget(int fd, Source& source);
  /// After everything that is ready now had its turn: how a long piece of work is cut up.
  void later(Task task) { later_.push_back(std::move(task)); }
  /// Whether more was ready than one call of epoll_wait gives: what is not urgent should wait.
  bool crowded() const { return count_ == static_cast<int>(ready_.size()); }
  void call_at(SteadyTime when, Task task) { timers_.emplace(when, std::move(task)); }

 private:
  int timeout() const;
  void wait();
  void poll(int milliseconds);
  void run_all(std::vector<Task> tasks);
  void run_posted();
  void run_timers();

  UniqueFd epoll_;
  UniqueFd bell_;  // an eventfd; edge-triggered, so that nobody needs to read it
  bool stopped_ = false;

  // What epoll_wait gave and what of it had its turn: forget() strikes out the rest.
  std::array<epoll_event, 512> ready_;
  int count_ = 0;
  int next_ = 0;
  bool brisk_ = false;  // the last wait was too short for a sleep

  std::vector<Task> later_;
  std::multimap<SteadyTime, Task> timers_;
  std::mutex mutex_;
  std::vector<Task> posted_;
};

}  // namespace megalaunch
