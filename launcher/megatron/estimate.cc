#include "launcher/megatron/estimate.h"

#include <algorithm>
#include <cstdlib>
#include <limits>

namespace megalaunch {
namespace {

using Settings = MegatronSettings;

constexpr double kMib = 1024.0 * 1024.0;
/// Context, communication buffers and fragmentation: one number, fitted to 30 measured runs.
constexpr double kFixedMib = 5777;
/// Share of the card up to which an estimate surely fits, and from which it surely does not.
constexpr double kSurelyFits = 0.95;
constexpr double kSurelyNot = 1.03;

/// Sizes as real numbers, after the program has lowered TP and PP to what the GPUs allow.
struct Sizes {
  explicit Sizes(const Training& t)
      : layers(static_cast<double>(t.model.layers)),
        hidden(static_cast<double>(t.model.hidden)),
        ffn(static_cast<double>(t.model.ffn)),
        vocabulary(static_cast<double>(t.model.vocabulary)),
        groups_per_head(static_cast<double>(t.model.query_groups) /
                        static_cast<double>(t.model.heads)) {
    const std::int64_t world = std::max<std::int64_t>(t.world(), 1);
    tp = std::min(t.tp.value, world);
    pp = std::clamp<std::int64_t>(t.pp.value, 1, std::max<std::int64_t>(world / tp, 1));
    dp = std::max<std::int64_t>(world / (tp * pp * t.cp.value), 1);
    stage_layers = static_cast<double>(t.model.layers / pp);
    const std::int64_t v = std::strtoll(t.virtual_layers.c_str(), nullptr, 10);
    const bool divides = v > 0 && (t.model.layers / pp) % v == 0;
    if (divides && pp > 1) {
      virtual_layers = static_cast<double>(v);
      chunks = t.model.layers / pp / v;
    }
  }

  double layers, hidden, ffn, vocabulary, groups_per_head;
  std::int64_t tp = 1, pp = 1, dp = 1;
  double stage_layers = 0;
  double virtual_layers = 0;
  std::int64_t chunks = 1;
};

double weights_and_optimizer(const Training& t, const Sizes& s, std::int64_t stage) {
  const double h = s.hidden;
  const double bias = t.model.qkv_bias ? h + 2 * h * s.groups_per_head : 0;
  const double layer =
      (2 * h * h * (1 + s.groups_per_head) + 3 * h * s.ffn + bias) / static_cast<double>(s.tp) +
      2 * h;
  const double in_layers = s.stage_layers * layer;
  const double embedding = s.vocabulary * h / static_cast<double>(s.tp);
  const double embeddings = embedding * ((stage == 0 ? 1 : 0) + (stage == s.pp - 1 ? 1 : 0));
  const bool optimizer_away = t.offload == Settings::Offload::kStatic;
  const double shards = t.distributed ? static_cast<double>(s.dp * t.cp.value) : 1;
  const double bytes = (in_layers + embeddings) * (6 + (optimizer_away ? 0 : 12 / shards));
  return bytes + (t.precision == Settings::Precision::kFp8 ? 2 * in_layers : 0);
}

double layers_in_flight(const Sizes& s, std::int64_t stage) {
  const auto behind = static_cast<double>(s.pp - stage - 1);
  if (s.chunks < 2) return s.stage_layers * (behind + 1);
  return s.virtual_layers * (2 * behind + static_cast<double>((s.chunks - 1) * s.pp) + 1);
}

double activations(const Training& t, const Sizes& s, std::int64_t stage) {
  const double tokens = static_cast<double>(t.sequence_length.value * t.micro.value) /
                        static_cast<double>(t.cp.value);
  const double width = tokens * s.hidden / static_cast<double>(s.tp);
  const bool fp8 = t.precision == Settings::Precision::kFp8;
  const double x = fp8 ? 1 : 2;
  const double y = fp8 ? 3 : 2;
  const double c = 2 * (2 + x) + 2 * (1 + 2 * s.groups_per_head) + y + (4 + x) * s.ffn / s.hidden;
  const double in_flight = layers_in_flight(s, stage);
  double bytes = in_flight * c * width;
  if (t.activations == Settings::Activations::kFull) bytes = in_flight * 2 * width + c * width;
  if (t.activations == Settings::Activations::kOffload)
    bytes *= std::max(0.0, 1 - static_cast<double>(t.activation_layers.value) / s.layers);
  if (stage == s.pp - 1) bytes += 10 * tokens * s.vocabulary / static_cast<double>(s.tp);
  return bytes;
}

}  // namespace

Estimate estimate_training(const Training& t) {
  const Sizes s(t);
  Estimate e;
  e.parameters = t.model.vocabulary > 0 ? t.model.parameters() : 0;
  const auto batch = static_cast<double>(t.global.value);
  const auto length = static_cast<double>(t.sequence_length.value);
  const double h = s.hidden;
  e.flops_per_iteration =
      6 * batch * length *
      (s.layers * (2 * h * h + 2 * h * h * s.groups_per_head + 3 * h * s.ffn + 2 * h * length) +
       s.vocabulary * h);
  e.iterations = std::strtoll(t.iterations.c_str(), nullptr, 10);
  if (__builtin_mul_overflow(e.iterations, t.global.value * t.sequence_length.value, &e.tokens))
    e.tokens = std::numeric_limits<std::int64_t>::max();
  const std::int64_t step = t.micro.value * s.dp;
  if (t.global.value % step == 0) e.micro_batches = t.global.value / step;
  const auto waiting = static_cast<double>(s.pp - 1);
  if (e.micro_batches > 0)
    e.bubble = waiting / (static_cast<double>(e.micro_batches * s.chunks) + waiting);
  e.memory_unproven = s.pp == 1 && s.tp > 1;
  // Fewer layers are in flight on each later stage, so the fullest is the first, or the last with
  // its logits.
  for (const std::int64_t stage : {std::int64_t{0}, s.pp - 1}) {
    const double mib =
        (weights_and_optimizer(t, s, stage) + activations(t, s, stage)) / kMib + kFixedMib;
    if (mib <= e.memory_mib) continue;
    e.memory_mib = mib;
    e.fullest_stage = stage;
  }
  return e;
}

MemoryVerdict verdict_for(const Estimate& estimate, double card_mib) {
  if (estimate.memory_mib <= kSurelyFits * card_mib)
    return estimate.memory_unproven ? MemoryVerdict::kTight : MemoryVerdict::kFits;
  return estimate.memory_mib <= kSurelyNot * card_mib ? MemoryVerdict::kTight
                                                      : MemoryVerdict::kDoesNotFit;
}

std::string_view to_string(MemoryVerdict verdict) {
  switch (verdict) {
    case MemoryVerdict::kFits:
      return "fits";
    case MemoryVerdict::kTight:
      return "tight";
    case MemoryVerdict::kDoesNotFit:
      break;
  }
  return "does not fit";
}

}  // namespace megalaunch
