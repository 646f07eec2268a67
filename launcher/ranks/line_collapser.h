#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "env/clock.h"
#include "launcher/ranks/console.h"

namespace megalaunch {

/// Shows a line that several ranks of a node print at about the same time once, with its ranks:
/// "[0:1-7] text". Every line is shown within `window` of its first rank, at once when all ranks
/// have printed it, and the lines of each rank keep their order. Pure: time comes in with each
/// call. Not thread-safe.
class LineCollapser {
 public:
  static constexpr milliseconds kWindow{250};
  static constexpr size_t kMaxBytes = 4U << 20;
  /// `line` may lack its newline.
  using Show = std::function<void(Console::Stream, std::string_view prefix, std::string_view line)>;

  explicit LineCollapser(Show show, milliseconds window = kWindow, size_t max_bytes = kMaxBytes)
      : show_(std::move(show)), window_(window), max_bytes_(max_bytes) {}

  /// How many ranks there are: a line that so many have printed need not wait.
  void expect(size_t ranks) { expected_ = ranks; }
  /// One line of a rank. When more than `max_bytes` wait the oldest are shown early.
  void add(int node, int rank, Console::Stream stream, std::string_view line, SteadyTime now);
  /// Shows what has waited long enough.
  void tick(SteadyTime now);
  /// When to call tick(); nothing while nothing waits.
  std::optional<SteadyTime> deadline() const;
  /// Shows everything that waits.
  void flush();

 private:
  struct Group {
    Console::Stream stream;
    std::string text;
    int node;
    std::vector<int> ranks;
    SteadyTime due;
  };
  /// Where a rank may still join: numbers of groups with this text, ascending.
  using Numbers = std::deque<uint64_t>;

  void show_front();

  Show show_;
  milliseconds window_;
  size_t max_bytes_;
  size_t expected_ = 0;
  std::deque<Group> groups_;   ///< in the order in which they are shown
  uint64_t first_number_ = 1;  ///< of the first of them; the others follow
  size_t bytes_ = 0;
  std::unordered_map<std::string_view, Numbers> by_text_[2];  ///< by stream; views into groups_
  std::map<int, uint64_t> last_;  ///< the group of each rank's latest line
};

/// "0-3,5"; `ranks` in any order.
std::string rank_ranges(std::vector<int> ranks);

}  // namespace megalaunch
