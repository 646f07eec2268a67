#include "launcher/megatron/estimate.h"

#include <algorithm>
#include <cstdlib>
#include <limits>

#include "launcher/megatron/model_size.h"
#include "launcher/megatron/stage_memory.h"

namespace megalaunch {
namespace {

using Settings = MegatronSettings;

/// Share of the card up to which an estimate surely fits, and from which it surely does not.
constexpr double kSurelyFits = 0.95;
constexpr double kSurelyNot = 1.03;

/// How the GPUs are shared out, after the program has lowered TP and PP to what they allow.
struct Shape {
  explicit Shape(const Training& t) {
    const std::int64_t world = std::max<std::int64_t>(t.world(), 1);
    tp = std::min(t.tp.value, world);
    pp = std::clamp<std::int64_t>(t.pp.value, 1, std::max<std::int64_t>(world / tp, 1));
    dp = std::max<std::int64_t>(world / (tp * pp * t.cp.value), 1);
    const std::int64_t layers = t.model.layers / pp;
    const std::int64_t wanted = std::strtoll(t.virtual_layers.c_str(), nullptr, 10);
    if (pp == 1 || wanted <= 0 || layers % wanted != 0) return;
    virtual_layers = wanted;
    chunks = layers / wanted;
  }

  std::int64_t tp = 1, pp = 1, dp = 1;
  std::int64_t virtual_layers = 0;
  std::int64_t chunks = 1;
};

StageMemory memory_of(const Training& t, const Shape& shape) {
  StageMemory m;
  m.size = size_of(t.model);
  m.qkv_bias = t.model.qkv_bias;
  m.fp8 = t.precision == Settings::Precision::kFp8;
  m.tp = shape.tp;
  m.pp = shape.pp;
  m.tokens = static_cast<double>(t.sequence_length.value * t.micro.value) /
             static_cast<double>(t.cp.value);
  m.optimizer_shards = t.distributed ? static_cast<double>(shape.dp * t.cp.value) : 1;
  m.optimizer_on_gpu = t.offload != Settings::Offload::kStatic;
  m.virtual_layers = shape.virtual_layers;
  if (t.activations == Settings::Activations::kFull) m.recompute = StageMemory::Recompute::kFull;
  if (t.activations == Settings::Activations::kOffload)
    m.activations_kept = std::max(0.0, 1 - static_cast<double>(t.activation_layers.value) /
                                               static_cast<double>(t.model.layers));
  return m;
}

}  // namespace

Estimate estimate_training(const Training& t) {
  const Shape s(t);
  Estimate e;
  e.parameters = t.model.vocabulary > 0 ? t.model.parameters() : 0;
  e.flops_per_iteration =
      flops_per_iteration(size_of(t.model), t.global.value, t.sequence_length.value);
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
  const StageMemory memory = memory_of(t, s);
  for (const std::int64_t stage : {std::int64_t{0}, s.pp - 1}) {
    const double mib = memory.mib(stage);
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
