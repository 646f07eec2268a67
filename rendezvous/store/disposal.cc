#include "rendezvous/store/disposal.h"

#include <utility>

namespace megalaunch {

Disposal::Disposal() : thread_([this] { run(); }) {}

Disposal::~Disposal() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void Disposal::add(std::function<void()> destroy) {
  {
    const std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(destroy));
  }
  changed_.notify_one();
}

void Disposal::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return ending_ || !waiting_.empty(); });
    if (waiting_.empty()) return;
    const auto now = std::exchange(waiting_, {});
    lock.unlock();
    for (const auto& destroy : now) destroy();
    lock.lock();
  }
}

}  // namespace megalaunch
