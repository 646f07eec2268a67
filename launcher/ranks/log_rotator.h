#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "env/clock.h"
#include "launcher/ranks/rank_log.h"

namespace megalaunch {

/// Keeps log files within their caps, on a thread of its own: neither a stuck console nor the
/// copying holds up anything else. A file may pass its cap by what its rank writes between two
/// looks and while its parts are copied; by much if ranks write faster than the disk for long.
/// Where a cap cannot be kept it says so once for each file, and tries again when that can help (a
/// full disk). Functions are for one thread and never wait for the disk, but the destructor.
class LogRotator {
 public:
  /// `warn` is called from the rotator's thread.
  explicit LogRotator(std::function<void(const std::string& text)> warn);
  ~LogRotator();
  LogRotator(const LogRotator&) = delete;
  LogRotator& operator=(const LogRotator&) = delete;

  void add(std::shared_ptr<RankLog> log);
  /// Forgets all files, whose ranks are gone, and says what they lost in all.
  DroppedLog clear();

  /// When to look again at a file that has `room` bytes left below its cap. Pure.
  static milliseconds next_look(uint64_t room);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace megalaunch
