#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string_view>
#include <vector>

#include "env/clock.h"
#include "launcher/gang/message.h"
#include "launcher/ranks/console.h"

namespace megalaunch {

/// Chosen ranks' lines on their way to node 0's console. Lossy, so that it can never be in the way
/// of anything else on the channel: so many lines and bytes a second and no more, one message under
/// way at a time; what does not fit is left out, and counted in its place. Thread-safe; time comes
/// in with each call.
class LineRelay {
 public:
  struct Limits {
    size_t lines_per_second = 200;
    size_t bytes_per_second = 64 * 1024;  ///< and so many may wait
    size_t line = 4 * 1024;               ///< a longer one is cut
  };
  /// Lines gather for so long; what was left out is said when the next line comes, or after this.
  static constexpr milliseconds kGather{100};
  static constexpr milliseconds kTellLeftOut{1000};

  LineRelay() : LineRelay(Limits{}) {}
  explicit LineRelay(Limits limits) : limits_(limits) {}

  /// One line of a rank, with or without newline. True: due() is another one now.
  bool add(int rank, Console::Stream stream, std::string_view line, SteadyTime now);
  /// When take() has something; nothing while nothing waits or a message is under way.
  std::optional<SteadyTime> due() const;
  /// What waits by now, which then is under way; nothing before due().
  std::optional<LinesNews> take(SteadyTime now);
  /// Node 0 has it.
  void arrived();
  /// The connection is gone, and what was under way with it.
  void forget();

 private:
  bool fits(size_t bytes, SteadyTime now);
  std::optional<SteadyTime> due_locked() const;

  const Limits limits_;
  mutable std::mutex mutex_;
  std::vector<LinesNews::Line> waiting_;
  size_t waiting_bytes_ = 0;
  SteadyTime first_waiting_{};
  std::map<int, uint64_t> left_out_;  ///< by rank, behind its last line that waits or was sent
  SteadyTime first_left_out_{};
  SteadyTime second_began_{};
  size_t lines_this_second_ = 0;
  size_t bytes_this_second_ = 0;
  bool under_way_ = false;
};

}  // namespace megalaunch
