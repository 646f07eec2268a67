#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "launcher/results/run_summary.h"

namespace megalaunch {

/// The results table in the forms that people take it. Pure; every text ends with a newline.
/// `options` are those that the rows were made with: the texts state the card and what counts.

/// A table for a page or an issue, flags as notes below it.
std::string report_markdown(const std::vector<RunSummary>& rows, const SummaryOptions& options);

/// One line per run, the columns named as the keys of the JSON; parse_measured_table() reads it.
std::string report_csv(const std::vector<RunSummary>& rows);

/// {runs: [{name, model, precision, gpus, tp, pp, cp, mbs, gbs, seq, activations,
/// virtual_stage_layers, tflops_per_gpu, mfu, tokens_per_second_per_gpu, ms_per_iteration,
/// max_memory_mib, outcome, cause, flags}]}; what is unknown is null, flags is an array of strings.
std::string report_json(const std::vector<RunSummary>& rows);

/// One self-contained page with plots, nothing loaded from elsewhere. Curves are thinned to 1000
/// points a run.
std::string report_html(const std::vector<RunSummary>& rows, const SummaryOptions& options);

}  // namespace megalaunch
