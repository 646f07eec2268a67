#include "launcher/results/stage_memory.h"

#include <cmath>

namespace megalaunch {
namespace {

constexpr double kMiB = 1024 * 1024;
constexpr std::int64_t kMaxLayers = 10'000;
constexpr double kFixedMiB = 5777;  // context, communication buffers, fragmentation

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

  const bool fp8 = r.precision == "fp8";
  const auto h = static_cast<double>(r.size.hidden);
  const double f_over_h = static_cast<double>(r.size.ffn) / h;
  const double groups =
      static_cast<double>(r.size.query_groups) / static_cast<double>(r.size.heads);
  const std::int64_t layers = r.size.layers / stages;  // of a stage
  const std::int64_t chunk = r.virtual_stage_layers.value_or(0);
  const std::int64_t chunks = chunk > 0 ? layers / chunk : 1;

  const double layer_parameters = (2 * h * h * (1 + groups) + 3 * h * h * f_over_h) / tp + 2 * h;
  const double embedding = static_cast<double>(r.size.vocabulary) * h / tp;
  const double tokens = static_cast<double>(*r.seq) * static_cast<double>(r.mbs.value_or(1)) / cp;
  const double x = fp8 ? 1 : 2;  // bytes of a saved input
  const double y = fp8 ? 3 : 2;
  const double per_token = (2 + x) + 2 * (1 + 2 * groups) + y + (2 + x) + (4 + x) * f_over_h;
  const double layer_activations = per_token * tokens * h / tp;

  std::vector<double> result;
  for (int k = 0; k < stages; ++k) {
    const std::int64_t after = stages - k - 1;
    const double own = static_cast<double>(layers) * layer_parameters;
    const double ends = embedding * ((k == 0 ? 1 : 0) + (after == 0 ? 1 : 0));
    const double weights = (own + ends) * (6 + 12 / (dp * cp)) + (fp8 ? 2 * own : 0);
    const auto in_flight = static_cast<double>(
        chunks > 1 ? chunk * (2 * after + (chunks - 1) * stages + 1) : layers * (after + 1));
    double activations = r.activations == "full"
                             ? in_flight * 2 * tokens * h / tp + layer_activations
                             : in_flight * layer_activations;
    if (after == 0) activations += 10 * tokens * static_cast<double>(r.size.vocabulary) / tp;
    result.push_back((weights + activations) / kMiB + kFixedMiB);
  }
  return result;
}

}  // namespace megalaunch
