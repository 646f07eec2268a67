#include "launcher/results/stage_memory.h"

#include <cmath>

#include "launcher/megatron/stage_memory.h"

namespace megalaunch {
namespace {

constexpr std::int64_t kMaxLayers = 10'000;

}  // namespace

std::optional<std::vector<double>> expected_stage_memory_mib(const RunRecord& r) {
  if (!r.size.complete() || !r.gpus || !r.tp || !r.pp || !r.seq) return std::nullopt;
  if (r.activations == "offload" || (r.precision != "fp8" && r.precision != "bf16"))
    return std::nullopt;
  const int stages = *r.pp;
  const double cp = r.cp.value_or(1);
  const double tp = *r.tp;
  const double dp = std::floor(*r.gpus / (tp * stages * cp));
  if (tp < 1 || stages < 1 || cp < 1 || dp < 1) return std::nullopt;
  if (stages > r.size.layers || r.size.layers > kMaxLayers) return std::nullopt;

  StageMemory memory;
  memory.size = r.size;
  memory.fp8 = r.precision == "fp8";
  memory.tp = *r.tp;
  memory.pp = stages;
  memory.tokens = static_cast<double>(*r.seq) * static_cast<double>(r.mbs.value_or(1)) / cp;
  memory.optimizer_shards = dp * cp;
  memory.virtual_layers = r.virtual_stage_layers.value_or(0);
  if (r.activations == "full") memory.recompute = StageMemory::Recompute::kFull;
  std::vector<double> result;
  for (int stage = 0; stage < stages; ++stage) result.push_back(memory.mib(stage));
  return result;
}

}  // namespace megalaunch
