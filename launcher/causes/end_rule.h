#pragma once

#include "launcher/causes/cause_rules.h"
#include "launcher/causes/evidence.h"

namespace megalaunch {

/// The strongest rule on the exit status alone; null: none knows it. `raised`: the rank had written
/// an exception, whose tear-down a crash may be. Points into `rules`.
const CauseRule* rule_of_end(const RankEnd& end, bool raised, const CauseRules& rules);

}  // namespace megalaunch
