// How fast lines that are no iteration lines are told apart from those that are.
#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "launcher/results/progress.h"

namespace {

using namespace megalaunch;

const std::string kIteration =
    " [2024-04-06 02:59:36] iteration       43/     100 | consumed samples:         5504 | elapsed "
    "time per iteration "
    "(ms): 5444.9 | throughput per GPU (TFLOP/s/GPU): 239.8 | learning rate: 8.600000E-06 | global "
    "batch size:   128 | "
    "lm loss: 1.825991E+00 | loss scale: 1.0 | grad norm: 1.426 | number of skipped iterations:   "
    "0 | number of nan "
    "iterations:   0 |";

/// What Megatron ranks print most: log records, timers with bars, and now and then an iteration
/// line.
std::vector<std::string> training_log(bool with_iterations) {
  std::vector<std::string> lines;
  for (int i = 0; i < 1000; ++i) {
    lines.push_back(
        "[rank7]:[W1107 16:27:21.123456 ProcessGroupNCCL.cpp:4115] [PG ID 0 PG GUID 0 Rank 7]  "
        "using GPU 7 "
        "to perform barrier as devices used by this process are currently unknown. " +
        std::to_string(i));
    lines.push_back(
        "INFO:megatron.core.distributed.param_and_grad_buffer:Number of buckets for gradient "
        "all-reduce / "
        "reduce-scatter: 1, params for bucket 1 (1234567 elements): "
        "module.decoder.layers.0.mlp.linear_fc1");
    if (i % 10 == 0)
      lines.push_back(
          "    forward-backward ...............................: (5123.45, 5124.56) | x | y");
    if (with_iterations && i % 20 == 0) lines.push_back(kIteration);
  }
  return lines;
}

void scan(benchmark::State& state, bool with_iterations) {
  const auto lines = training_log(with_iterations);
  std::int64_t bytes = 0;
  for (const auto& line : lines) bytes += static_cast<std::int64_t>(line.size()) + 1;
  Progress progress(WallTime{});
  for (auto _ : state)
    for (const auto& line : lines) benchmark::DoNotOptimize(progress.feed(0, line, WallTime{}));
  state.SetBytesProcessed(state.iterations() * bytes);
}

void LinesWithoutIterations(benchmark::State& state) {
  scan(state, false);
}
void LinesOfATraining(benchmark::State& state) {
  scan(state, true);
}
void IterationLinesOnly(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(parse_iteration_line(kIteration));
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(kIteration.size()));
}

BENCHMARK(LinesWithoutIterations);
BENCHMARK(LinesOfATraining);
BENCHMARK(IterationLinesOnly);

}  // namespace

BENCHMARK_MAIN();
