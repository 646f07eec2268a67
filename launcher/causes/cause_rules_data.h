#pragma once

namespace megalaunch {

/// The text of configs/causes.yaml, put into the binary by the build (cause_rules_data.cc.in).
extern const char* const kBuiltInCauseRules;

}  // namespace megalaunch
