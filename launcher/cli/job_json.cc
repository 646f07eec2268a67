#include "launcher/cli/job_json.h"

#include <nlohmann/json.hpp>

namespace megalaunch {

using nlohmann::ordered_json;

ordered_json errors_json(const std::vector<JobError>& errors) {
  ordered_json array = ordered_json::array();
  for (const JobError& e : errors)
    array.push_back({{"file", e.file},
                     {"line", e.line},
                     {"column", e.column},
                     {"key", e.key},
                     {"message", e.message}});
  return array;
}

ordered_json checks_json(const std::vector<Check>& checks) {
  ordered_json array = ordered_json::array();
  for (const Check& check : checks)
    array.push_back({{"code", check.code},
                     {"level", check.level == Check::Level::kError ? "error" : "warning"},
                     {"message", check.message}});
  return array;
}

ordered_json estimate_json(const Estimate& e, double card_mib) {
  return {{"parameters", e.parameters},
          {"flops_per_iteration", e.flops_per_iteration},
          {"iterations", e.iterations},
          {"tokens", e.tokens},
          {"micro_batches", e.micro_batches},
          {"bubble", e.bubble},
          {"memory_mib", e.memory_mib},
          {"fullest_stage", e.fullest_stage},
          {"card_mib", card_mib},
          {"verdict", to_string(verdict_for(e, card_mib))}};
}

}  // namespace megalaunch
