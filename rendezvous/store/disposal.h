#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace megalaunch {

/// Destroys what would hold up a thread that serves: a thread of its own, which sleeps while there
/// is nothing to destroy. Thread-safe. Its destructor waits until everything is destroyed.
class Disposal {
 public:
  Disposal();
  ~Disposal();
  Disposal(const Disposal&) = delete;
  Disposal& operator=(const Disposal&) = delete;

  /// `destroy` runs there, once.
  void add(std::function<void()> destroy);

 private:
  void run();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::function<void()>> waiting_;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace megalaunch
