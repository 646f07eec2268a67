#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "launcher/results/card.h"
#include "launcher/results/measured_run.h"
#include "launcher/results/run_record.h"

namespace megalaunch {

/// One row of the results table. What is not known is absent.
struct RunSummary {
  RunRecord record;
  std::optional<double> tflops_per_gpu;  ///< median after warm-up
  std::optional<double> tflops_spread;   ///< half the distance of the quartiles
  std::optional<double> mfu;             ///< 0 to 1: share of the card's peak for the precision
  std::optional<double> tokens_per_second_per_gpu;
  std::optional<double> ms_per_iteration;  ///< median after warm-up
  std::optional<double> max_memory_mib;
  std::vector<std::string>
      flags;  ///< "word: why", for a person; the words are those of run_flags.h

  /// For plots; empty for a row of a hand-made table.
  MeasuredRun measured;
};

struct SummaryOptions {
  const Card* card = nullptr;  ///< for all runs; null: what the run says, else default_card()
  int warm_up = 3;             ///< iterations after each start that do not count
  int min_iterations = 10;     ///< fewer that count are flagged
};

/// The row of a run.
RunSummary summarize(MeasuredRun run, const SummaryOptions& options);

/// Completes a row whose record and measured columns are set: the model's sizes, MFU, tokens a
/// second, flags. For hand-made tables; summarize() does it too.
void derive(RunSummary& row, const SummaryOptions& options);

/// The card that MFU is taken of.
const Card& card_of(const RunSummary& row, const SummaryOptions& options);

}  // namespace megalaunch
