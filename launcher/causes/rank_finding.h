#pragma once

#include "launcher/causes/finding.h"

namespace megalaunch {

struct Evidence;

/// Looks for the cause of one rank's end in all its evidence: its error file, the tails of its logs
/// and its exit status, of which the strongest finding counts. Pure.
Finding find_cause(const Evidence& evidence, const CauseRules& rules);

}  // namespace megalaunch
