#include "launcher/megatron/stage_memory.h"

namespace megalaunch {
namespace {

constexpr double kMib = 1024.0 * 1024.0;
/// Context, communication buffers and fragmentation: one number, fitted to 30 measured runs.
constexpr double kFixedMib = 5777;

double groups_per_head(const ModelSize& size) {
  return static_cast<double>(size.query_groups) / static_cast<double>(size.heads);
}

double weights_and_optimizer(const StageMemory& m, std::int64_t stage) {
  const auto h = static_cast<double>(m.size.hidden);
  const auto tp = static_cast<double>(m.tp);
  const double groups = groups_per_head(m.size);
  const double bias = m.qkv_bias ? h + 2 * h * groups : 0;
  const double layer =
      (2 * h * h * (1 + groups) + 3 * h * static_cast<double>(m.size.ffn) + bias) / tp + 2 * h;
  const double in_layers = static_cast<double>(m.size.layers / m.pp) * layer;
  const double embedding = static_cast<double>(m.size.vocabulary) * h / tp;
  const double embeddings = embedding * ((stage == 0 ? 1 : 0) + (stage == m.pp - 1 ? 1 : 0));
  const double optimizer = m.optimizer_on_gpu ? 12 / m.optimizer_shards : 0;
  return (in_layers + embeddings) * (6 + optimizer) + (m.fp8 ? 2 * in_layers : 0);
}

double layers_in_flight(const StageMemory& m, std::int64_t stage) {
  const std::int64_t layers = m.size.layers / m.pp, behind = m.pp - stage - 1;
  const bool divides = m.pp > 1 && m.virtual_layers > 0 && layers % m.virtual_layers == 0;
  const std::int64_t chunks = divides ? layers / m.virtual_layers : 1;
  return static_cast<double>(chunks < 2
                                 ? layers * (behind + 1)
                                 : m.virtual_layers * (2 * behind + (chunks - 1) * m.pp + 1));
}

double activations(const StageMemory& m, std::int64_t stage) {
  const auto tp = static_cast<double>(m.tp), h = static_cast<double>(m.size.hidden);
  const double width = m.tokens * h / tp;
  const double x = m.fp8 ? 1 : 2;  // bytes of a saved input
  const double y = m.fp8 ? 3 : 2;
  const double layer = width * (2 * (2 + x) + 2 * (1 + 2 * groups_per_head(m.size)) + y +
                                (4 + x) * static_cast<double>(m.size.ffn) / h);
  const double in_flight = layers_in_flight(m, stage);
  double bytes = m.recompute == StageMemory::Recompute::kFull ? in_flight * 2 * width + layer
                                                              : in_flight * layer;
  bytes *= m.activations_kept;
  if (stage == m.pp - 1) bytes += 10 * m.tokens * static_cast<double>(m.size.vocabulary) / tp;
  return bytes;
}

}  // namespace

double StageMemory::mib(std::int64_t stage) const {
  return (weights_and_optimizer(*this, stage) + activations(*this, stage)) / kMib + kFixedMib;
}

}  // namespace megalaunch
