#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace megalaunch {

/// What one `iteration N/M | ...` line of a rank says. Every field but the iteration may be
/// missing: Megatron-LM's versions and its offshoots print different ones. NaN and infinity are
/// values here.
struct IterationSample {
  std::int64_t iteration = 0;
  std::optional<std::int64_t> total_iterations;
  std::optional<std::int64_t> consumed_samples;
  std::optional<double> ms_per_iteration;
  std::optional<double> tflops_per_gpu;
  std::optional<double> tokens_per_second_per_gpu;
  std::optional<double> learning_rate;
  std::optional<std::int64_t> global_batch;
  std::optional<double> lm_loss;
  std::optional<double> loss_scale;
  std::optional<double> grad_norm;
  std::optional<std::int64_t> skipped_iterations;
  std::optional<std::int64_t> nan_iterations;

  bool operator==(const IterationSample&) const = default;
};

/// What one `[Rank R] (after N iterations) memory (MB) | allocated: ...` line says. Megatron-LM
/// prints it once, early, from the ranks with data-parallel rank 0; the unit that it calls MB is
/// MiB. Rank and iteration are absent in the oldest form.
struct MemorySample {
  std::optional<int> rank;
  std::optional<std::int64_t> iteration;
  std::optional<double> allocated_mib;
  std::optional<double> max_allocated_mib;
  std::optional<double> reserved_mib;
  std::optional<double> max_reserved_mib;
  std::optional<double>
      device_mib;  ///< "total device memory used": what the driver counts, newest versions only

  bool operator==(const MemorySample&) const = default;
  /// The highest figure of the line: what the rank's process held at its peak.
  double peak_mib() const;
};

/// `Theoretical memory footprints: weight and optimizer=... MB[, activation=... MB, total=... MB]`,
/// Megatron-LM's own estimate.
struct MemoryEstimate {
  double weight_and_optimizer_mib = 0;
  std::optional<double> activation_mib;
  std::optional<double> total_mib;

  bool operator==(const MemoryEstimate&) const = default;
};

/// Each parses one line of a rank's output, without or with its newline, and gives nothing for any
/// other line. What stands in front does not matter: a timestamp, `[default0]:`, a rank, another
/// timestamp. Pure, no allocation, no exception; a line that is not one of theirs costs one pass of
/// memchr.
std::optional<IterationSample> parse_iteration_line(std::string_view line);
std::optional<MemorySample> parse_memory_line(std::string_view line);
std::optional<MemoryEstimate> parse_memory_estimate_line(std::string_view line);

}  // namespace megalaunch
