#pragma once

#include <optional>
#include <string>

#include "launcher/results/card.h"
#include "launcher/results/measured_run.h"
#include "launcher/results/run_record.h"

namespace megalaunch {

// What cannot be true in a row of the results table, each as a sentence that begins with the flag's
// word, or nothing. Pure.

/// "flops: ...": the logged TFLOP/s times the logged time is not what one iteration of this model
/// takes on this many GPUs, by either way of counting the attention. Beyond rounding, numbers of
/// another run, another GPU count or another iteration. `tera_per_gpu` is TFLOP/s x seconds of one
/// and the same iteration; the two roundings come from its factors.
std::optional<std::string> flops_flag(const RunRecord& record, double tflops_per_gpu,
                                      double ms_per_iteration, double tera_per_gpu);

/// "peak: ...": faster than the card can be.
std::optional<std::string> peak_flag(const RunRecord& record, const Card& card,
                                     double tflops_per_gpu);

/// "iterations: ...": too few of them counted.
std::optional<std::string> iterations_flag(std::int64_t counted, int min_iterations);

/// "memory: ...": with several pipeline stages, the figure is known not to be of the stage that
/// needs most. Stages differ, so a maximum has to see them all. By the ranks and GPUs that gave
/// figures; for a table, which has only the figure, by what each stage should need.
std::optional<std::string> memory_flag(const MeasuredRun& run);
std::optional<std::string> memory_flag(const RunRecord& record, double max_memory_mib);

/// "hardware: ...": GPUs reported errors during the run; its numbers, and its model, may be wrong.
std::optional<std::string> hardware_flag(const MeasuredRun& run);

}  // namespace megalaunch
