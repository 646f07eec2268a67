#pragma once

#include <optional>
#include <vector>

#include "launcher/results/run_record.h"

namespace megalaunch {

/// What a GPU of each pipeline stage should need, in MiB, first stage first: weights, optimizer,
/// activations in flight and a fixed cost that was fitted to 30 measured runs (24 of them within 5
/// %, the worst 19 % too high). For distributed optimizer, flash attention, bf16 or fp8, sequence
/// parallel where TP > 1. Nothing when a size that it takes is not known, or for activation
/// offload. Good for telling stages apart, not for planning.
std::optional<std::vector<double>> expected_stage_memory_mib(const RunRecord& record);

}  // namespace megalaunch
