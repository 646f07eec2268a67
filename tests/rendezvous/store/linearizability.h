#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace megalaunch {

/// One operation on one key, as its client saw it.
struct Observed {
  int64_t invoked = 0;   ///< when the request was sent
  int64_t answered = 0;  ///< when it was known to be done
  std::string name;      ///< for messages
  /// Applies the operation to the state of a simple model. False: the model's answer is not the
  /// observed one.
  std::function<bool(std::string& state)> apply;
};

/// Whether one order of the operations explains all answers, in which no operation comes before
/// another that was answered before it was invoked. At most 64 operations; searches all orders,
/// with a memory of what was tried.
class LinearizabilityCheck {
 public:
  explicit LinearizabilityCheck(const std::vector<Observed>& history) : history_(history) {}

  bool passes(const std::string& initial = "") { return search(0, initial); }

 private:
  bool search(uint64_t done, const std::string& state) {
    const uint64_t all =
        history_.size() == 64 ? ~uint64_t{0} : (uint64_t{1} << history_.size()) - 1;
    if (done == all) return true;
    if (!tried_.insert({done, state}).second) return false;
    int64_t first_answer = INT64_MAX;
    for (size_t index = 0; index < history_.size(); ++index)
      if ((done >> index & 1) == 0) first_answer = std::min(first_answer, history_[index].answered);
    for (size_t index = 0; index < history_.size(); ++index) {
      if ((done >> index & 1) != 0 || history_[index].invoked > first_answer) continue;
      std::string next = state;
      if (history_[index].apply(next) && search(done | uint64_t{1} << index, next)) return true;
    }
    return false;
  }

  const std::vector<Observed>& history_;
  std::set<std::pair<uint64_t, std::string>> tried_;
};

}  // namespace megalaunch
