#include "launcher/results/run_flags.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <vector>

#include "launcher/results/stage_memory.h"

namespace megalaunch {
namespace {

constexpr double kTolerance = 3e-4;    // of the formula, beyond the rounding of the two numbers
constexpr double kPrintedUnit = 0.05;  // both are printed with one digit after the point
constexpr double kFarBelow = 0.80;     // the estimate of a stage is at most 19 % too high
constexpr double kNear = 0.15;
constexpr double kNearlyRight = 0.05;

std::string percent_off(double ratio) {
  if (ratio > 1.5 || ratio < 0.67) return fmt::format("{:.2f} times", ratio);
  return fmt::format("{:.2f} % {} than", std::abs(ratio - 1) * 100, ratio > 1 ? "more" : "less");
}

/// The number of GPUs that would explain the ratio, unless it is none or the one that was given.
std::optional<double> fitting_gpus(int gpus, double ratio, double tolerance) {
  const double whole = std::round(gpus / ratio);
  if (whole < 1 || whole == gpus || std::abs(gpus / ratio / whole - 1) > tolerance)
    return std::nullopt;
  return whole;
}

}  // namespace

std::optional<std::string> flops_flag(const RunRecord& record, double tflops_per_gpu,
                                      double ms_per_iteration, double tera_per_gpu) {
  if (!record.size.complete() || !record.gpus || !record.gbs || !record.seq) return std::nullopt;
  if (!(tflops_per_gpu > 0 && ms_per_iteration > 0 && tera_per_gpu > 0)) return std::nullopt;
  const double tolerance =
      kTolerance + kPrintedUnit / tflops_per_gpu + kPrintedUnit / ms_per_iteration;
  const double logged = tera_per_gpu * 1e12 * *record.gpus;
  const double square =
      flops_per_iteration(record.size, *record.gbs, *record.seq, AttentionFlops::kSquare);
  const double causal =
      flops_per_iteration(record.size, *record.gbs, *record.seq, AttentionFlops::kCausal);
  for (const double count : {square, causal})
    if (std::abs(logged / count - 1) <= tolerance) return std::nullopt;
  // The count that the numbers are compared with: the one that another number of GPUs explains,
  // else the nearer one.
  double needed = std::abs(logged - square) < std::abs(logged - causal) ? square : causal;
  for (const double other : {causal, square})
    if (fitting_gpus(*record.gpus, logged / other, tolerance)) needed = other;
  const double ratio = logged / needed;
  std::string flag = fmt::format(
      "flops: {:.1f} TFLOP/s x {:.1f} ms x {} GPUs = {:.4g} is {} the {:.4g} of one iteration",
      tflops_per_gpu, ms_per_iteration, *record.gpus, logged, percent_off(ratio), needed);
  if (const auto gpus = fitting_gpus(*record.gpus, ratio, tolerance))
    flag += fmt::format("; it fits {:.0f} GPU{}", *gpus, *gpus == 1 ? "" : "s");
  else if (std::abs(ratio - 1) < kNearlyRight)
    flag += "; the two numbers belong to different iterations, or the sizes are not these";
  return flag;
}

std::optional<std::string> peak_flag(const RunRecord& record, const Card& card,
                                     double tflops_per_gpu) {
  const auto peak = card.peak_tflops(record.precision);
  if (!peak || tflops_per_gpu <= *peak) return std::nullopt;
  return fmt::format("peak: {:.1f} TFLOP/s is more than the {:.1f} that {} can do in {}",
                     tflops_per_gpu, *peak, card.name, record.precision);
}

std::optional<std::string> iterations_flag(std::int64_t counted, int min_iterations) {
  if (counted >= min_iterations) return std::nullopt;
  return fmt::format("iterations: only {} counted after warm-up, fewer than {}", counted,
                     min_iterations);
}

std::optional<std::string> hardware_flag(const MeasuredRun& run) {
  if (run.xid_errors <= 0 && run.ecc_errors <= 0) return std::nullopt;
  return fmt::format(
      "hardware: GPUs reported {} critical Xid event{} and {} uncorrected ECC error{}",
      run.xid_errors, run.xid_errors == 1 ? "" : "s", run.ecc_errors,
      run.ecc_errors == 1 ? "" : "s");
}

std::optional<std::string> memory_flag(const MeasuredRun& run) {
  const RunRecord& record = run.record;
  const int stages = record.pp.value_or(1);
  if (stages <= 1 || !record.gpus || *record.gpus < stages) return std::nullopt;
  const std::int64_t ranks_per_stage =
      *record.gpus / stages;  // stages are the outermost order of ranks
  std::set<std::int64_t> seen;
  if (!run.gpu_memory_mib.empty()) {
    if (!record.nodes || *record.nodes <= 0) return std::nullopt;
    const std::int64_t ranks_per_node = *record.gpus / *record.nodes;
    for (const auto& [where, mib] : run.gpu_memory_mib)
      seen.insert((where.first * ranks_per_node + where.second) / ranks_per_stage);
  } else {
    for (const auto& [rank, mib] : run.rank_memory_mib) seen.insert(rank / ranks_per_stage);
  }
  if (seen.empty() || seen.contains(0)) {
    if (seen.size() != 1) return std::nullopt;
    return fmt::format("memory: of pipeline stage 0 of {} only; other stages may hold more",
                       stages);
  }
  if (static_cast<int>(seen.size()) == stages) return std::nullopt;
  return fmt::format("memory: stage 0 of {}, which mostly holds most, gave no figure", stages);
}

std::optional<std::string> memory_flag(const RunRecord& record, double max_memory_mib) {
  const auto expected = expected_stage_memory_mib(record);
  if (!expected || expected->size() < 2) return std::nullopt;
  const auto most = std::ranges::max_element(*expected);
  if (max_memory_mib >= kFarBelow * *most) return std::nullopt;
  const auto near = std::ranges::min_element(
      *expected, {}, [&](double mib) { return std::abs(std::log(max_memory_mib / mib)); });
  if (near == most || std::abs(max_memory_mib / *near - 1) > kNear) return std::nullopt;
  return fmt::format(
      "memory: {:.0f} MiB is what pipeline stage {} of {} holds; stage {} should hold about {:.0f}",
      max_memory_mib, near - expected->begin(), expected->size(), most - expected->begin(), *most);
}

}  // namespace megalaunch
