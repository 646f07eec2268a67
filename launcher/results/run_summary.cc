#include "launcher/results/run_summary.h"

#include <algorithm>
#include <cmath>

#include "launcher/results/run_flags.h"

namespace megalaunch {
namespace {

/// The value below which `share` of the values lie, between neighbours. Sorts.
std::optional<double> quantile(std::vector<double>& values, double share) {
  std::erase_if(values, [](double value) { return !std::isfinite(value); });
  if (values.empty()) return std::nullopt;
  std::ranges::sort(values);
  const double at = share * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  const std::size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (at - static_cast<double>(below)) * (values[above] - values[below]);
}

/// The iterations that count: without the first ones after each start, as long as that leaves any.
std::vector<const IterationSample*> after_warm_up(const MeasuredRun& run, int warm_up) {
  std::vector<const IterationSample*> counted;
  int in_life = 0;
  const MeasuredRun::Iteration* previous = nullptr;
  for (const auto& iteration : run.iterations) {
    const bool restarted =
        previous != nullptr && (iteration.generation != previous->generation ||
                                iteration.values.iteration <= previous->values.iteration);
    if (restarted) in_life = 0;
    if (in_life++ >= warm_up) counted.push_back(&iteration.values);
    previous = &iteration;
  }
  if (counted.empty())
    for (const auto& iteration : run.iterations) counted.push_back(&iteration.values);
  return counted;
}

void add_flag(RunSummary& row, std::optional<std::string> flag) {
  if (flag) row.flags.push_back(std::move(*flag));
}

void complete_record(RunSummary& row) {
  RunRecord& record = row.record;
  if (const KnownModel* known = find_known_model(record.model); known != nullptr) {
    record.model = known->name;
    if (!record.size.complete()) record.size = known->size;
  }
}

void add_rates(RunSummary& row, const SummaryOptions& options) {
  const auto peak = card_of(row, options).peak_tflops(row.record.precision);
  if (row.tflops_per_gpu && peak) row.mfu = *row.tflops_per_gpu / *peak;
  const RunRecord& record = row.record;
  if (!row.tokens_per_second_per_gpu && row.ms_per_iteration && *row.ms_per_iteration > 0 &&
      record.gbs && record.seq && record.gpus && *record.gpus > 0) {
    const double tokens = static_cast<double>(*record.gbs) * static_cast<double>(*record.seq);
    row.tokens_per_second_per_gpu = tokens / (*row.ms_per_iteration / 1000) / *record.gpus;
  }
}

}  // namespace

const Card& card_of(const RunSummary& row, const SummaryOptions& options) {
  if (options.card != nullptr) return *options.card;
  const Card* own = find_card(row.record.card);
  return own != nullptr ? *own : default_card();
}

RunSummary summarize(MeasuredRun run, const SummaryOptions& options) {
  RunSummary row;
  row.record = run.record;
  row.max_memory_mib = run.max_memory_mib();
  const auto counted = after_warm_up(run, options.warm_up);
  std::vector<double> tflops;
  std::vector<double> ms;
  std::vector<double> tokens;
  std::vector<double> tera;
  for (const IterationSample* sample : counted) {
    if (sample->tflops_per_gpu) tflops.push_back(*sample->tflops_per_gpu);
    if (sample->ms_per_iteration) ms.push_back(*sample->ms_per_iteration);
    if (sample->tokens_per_second_per_gpu) tokens.push_back(*sample->tokens_per_second_per_gpu);
    if (sample->tflops_per_gpu && sample->ms_per_iteration)
      tera.push_back(*sample->tflops_per_gpu * *sample->ms_per_iteration / 1000);
    if (!row.record.gbs && sample->global_batch) row.record.gbs = sample->global_batch;
  }
  row.tflops_per_gpu = quantile(tflops, 0.5);
  if (row.tflops_per_gpu)
    row.tflops_spread = (*quantile(tflops, 0.75) - *quantile(tflops, 0.25)) / 2;
  row.ms_per_iteration = quantile(ms, 0.5);
  row.tokens_per_second_per_gpu = quantile(tokens, 0.5);

  complete_record(row);
  if (!row.tflops_per_gpu && row.ms_per_iteration && *row.ms_per_iteration > 0 &&
      row.record.size.complete() && row.record.gbs && row.record.seq && row.record.gpus &&
      *row.record.gpus > 0)  // a program without --log-throughput
    row.tflops_per_gpu = flops_per_iteration(row.record.size, *row.record.gbs, *row.record.seq) /
                         1e12 / (*row.ms_per_iteration / 1000) / *row.record.gpus;
  add_rates(row, options);
  if (!run.iterations.empty())
    add_flag(row,
             iterations_flag(static_cast<std::int64_t>(counted.size()), options.min_iterations));
  if (const auto work = quantile(tera, 0.5)) {
    add_flag(row, flops_flag(row.record, *row.tflops_per_gpu, *row.ms_per_iteration, *work));
    add_flag(row, peak_flag(row.record, card_of(row, options), *row.tflops_per_gpu));
  }
  add_flag(row, memory_flag(run));
  add_flag(row, hardware_flag(run));
  row.measured = std::move(run);
  return row;
}

void derive(RunSummary& row, const SummaryOptions& options) {
  complete_record(row);
  add_rates(row, options);
  if (row.tflops_per_gpu && row.ms_per_iteration)
    add_flag(row, flops_flag(row.record, *row.tflops_per_gpu, *row.ms_per_iteration,
                             *row.tflops_per_gpu * *row.ms_per_iteration / 1000));
  if (row.tflops_per_gpu)
    add_flag(row, peak_flag(row.record, card_of(row, options), *row.tflops_per_gpu));
  if (row.max_memory_mib) add_flag(row, memory_flag(row.record, *row.max_memory_mib));
}

}  // namespace megalaunch
