#pragma once

#include <cstdint>
#include <string_view>

#include "launcher/megatron/training.h"

namespace megalaunch {

/// What a training will cost, from its settings alone (docs/megatron-estimate.md compares it with
/// measured runs).
struct Estimate {
  std::int64_t parameters = 0;     ///< of the model; 0 when the vocabulary is unknown
  double flops_per_iteration = 0;  ///< as the program logs them: recompute is not counted
  std::int64_t iterations = 0;
  std::int64_t tokens = 0;  ///< of all iterations
  std::int64_t micro_batches =
      0;  ///< of one data-parallel copy in an iteration; 0 when the batch does not divide
  double bubble = 0;      ///< share of an iteration in which a stage waits for the pipeline, 0 to 1
  double memory_mib = 0;  ///< of one GPU of the fullest stage
  std::int64_t fullest_stage = 0;  ///< from 0
  /// One stage with tp > 1: three such measured runs went out of memory, and nobody knows why.
  bool memory_unproven = false;
};

/// Whether it goes into a card. The estimate is within 5 % for most runs, so close to the limit it
/// cannot tell.
enum class MemoryVerdict { kFits, kTight, kDoesNotFit };

constexpr double kCardMib80 = 81559;  ///< what an 80 GB card has

Estimate estimate_training(const Training& training);
MemoryVerdict verdict_for(const Estimate& estimate, double card_mib);
std::string_view to_string(MemoryVerdict verdict);  ///< "fits", "tight", "does not fit"

}  // namespace megalaunch
