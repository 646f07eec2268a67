#include "rendezvous/store/event_loop.h"

#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <thread>
#include <utility>

namespace megalaunch {
namespace {

// What it takes, about, to put a thread to sleep and to wake it again.
constexpr auto kPatience = std::chrono::microseconds(60);

}  // namespace

EventLoop::EventLoop()
    : epoll_(::epoll_create1(EPOLL_CLOEXEC)), bell_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  epoll_event event{EPOLLIN | EPOLLET, {nullptr}};
  if (!epoll_ || !bell_ || ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, bell_.get(), &event) != 0)
    throw std::system_error(errno, std::generic_category(), "store: epoll");
}

bool EventLoop::watch(int fd, uint32_t events, Source& source) {
  epoll_event event{events, {&source}};
  return ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
}

void EventLoop::change(int fd, uint32_t events, Source& source) {
  epoll_event event{events, {&source}};
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event);
}

void EventLoop::forget(int fd, Source& source) {
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
  for (int index = next_; index < count_; ++index)
    if (ready_[static_cast<size_t>(index)].data.ptr == &source)
      ready_[static_cast<size_t>(index)].events = 0;
}

void EventLoop::post(Task task) {
  bool first = false;
  {
    const std::lock_guard lock(mutex_);
    first = posted_.empty();
    posted_.push_back(std::move(task));
  }
  if (first) ::eventfd_write(bell_.get(), 1);
}

void EventLoop::stop() {
  post([this] { stopped_ = true; });
}

void EventLoop::run() {
  while (!stopped_) {
    wait();
    bool rang = false;
    while (next_ < count_) {
      const epoll_event& event = ready_[static_cast<size_t>(next_++)];
      if (event.data.ptr == nullptr)
        rang = true;
      else if (event.events != 0)
        static_cast<Source*>(event.data.ptr)->on_ready(event.events);
    }
    if (rang) run_posted();
    if (!later_.empty()) run_all(std::exchange(later_, {}));
    if (!timers_.empty()) run_timers();
  }
}

void EventLoop::wait() {
  next_ = 0;
  const int limit = timeout();
  const auto began = std::chrono::steady_clock::now();
  const auto is_soon = [began] { return std::chrono::steady_clock::now() - began < kPatience; };
  if (brisk_ && limit != 0) {
    do {
      std::this_thread::yield();
      poll(0);
    } while (count_ == 0 && is_soon());
  } else {
    poll(limit);
  }
  brisk_ = count_ > 0 && is_soon();
}

void EventLoop::poll(int milliseconds) {
  count_ = std::max(
      0, ::epoll_wait(epoll_.get(), ready_.data(), static_cast<int>(ready_.size()), milliseconds));
}

int EventLoop::timeout() const {
  if (!later_.empty()) return 0;
  if (timers_.empty()) return -1;
  const auto left =
      std::chrono::ceil<milliseconds>(timers_.begin()->first - std::chrono::steady_clock::now());
  return static_cast<int>(std::clamp<int64_t>(left.count(), 0, 60'000));
}

void EventLoop::run_all(std::vector<Task> tasks) {
  for (const Task& task : tasks) task();
}

void EventLoop::run_posted() {
  std::vector<Task> tasks;
  {
    const std::lock_guard lock(mutex_);
    tasks.swap(posted_);
  }
  run_all(std::move(tasks));
}

void EventLoop::run_timers() {
  const auto now = std::chrono::steady_clock::now();
  while (!timers_.empty() && timers_.begin()->first <= now)
    timers_.extract(timers_.begin()).mapped()();
}

}  // namespace megalaunch
