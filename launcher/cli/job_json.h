#pragma once

#include <nlohmann/json_fwd.hpp>
#include <vector>

#include "launcher/job/job.h"
#include "launcher/megatron/checks.h"
#include "launcher/megatron/estimate.h"

namespace megalaunch {

/// The parts that `render --json` and `check --json` share; docs/megatron.md describes them.
nlohmann::ordered_json errors_json(const std::vector<JobError>& errors);
nlohmann::ordered_json checks_json(const std::vector<Check>& checks);
nlohmann::ordered_json estimate_json(const Estimate& estimate, double card_mib);

}  // namespace megalaunch
