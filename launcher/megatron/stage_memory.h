#pragma once

#include <cstdint>

#include "launcher/megatron/model_size.h"

namespace megalaunch {

/// What decides the memory of one pipeline stage, for whoever plans a run or looks back at one. The
/// formula was fitted to 30 measured runs (docs/megatron-estimate.md). For flash attention, and
/// sequence parallel where tp > 1.
struct StageMemory {
  enum class Recompute { kNone, kFull };

  ModelSize size;  ///< complete
  bool qkv_bias = false;
  bool fp8 = false;
  std::int64_t tp = 1;
  std::int64_t pp = 1;
  double tokens = 0;            ///< of a micro batch on one GPU
  double optimizer_shards = 1;  ///< GPUs that share the optimizer's state
  bool optimizer_on_gpu = true;
  std::int64_t virtual_layers = 0;  ///< of a virtual stage; 0: none
  Recompute recompute = Recompute::kNone;
  double activations_kept = 1;  ///< the share that is not offloaded

  /// Weights, optimizer, activations in flight and a fixed cost, of stage 0 to pp - 1.
  double mib(std::int64_t stage) const;
};

}  // namespace megalaunch
