#include "launcher/causes/end_rule.h"

#include <algorithm>

namespace megalaunch {
namespace {

bool contains(const std::vector<int>& values, int value) {
  return std::find(values.begin(), values.end(), value) != values.end();
}

}  // namespace

const CauseRule* rule_of_end(const RankEnd& end, bool raised, const CauseRules& rules) {
  const CauseRule* found = nullptr;
  for (const CauseRule& rule : rules.rules()) {
    if (rule.silent && raised) continue;
    const auto* exited = std::get_if<Exited>(&end);
    const auto* signaled = std::get_if<Signaled>(&end);
    if (!(exited != nullptr && contains(rule.codes, exited->code)) &&
        !(signaled != nullptr && contains(rule.signals, signaled->signal)))
      continue;
    if (found == nullptr || (found->weak && !rule.weak)) found = &rule;
  }
  return found;
}

}  // namespace megalaunch
