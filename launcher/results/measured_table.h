#pragma once

#include <filesystem>
#include <string_view>
#include <vector>

#include "env/result.h"
#include "launcher/results/run_summary.h"

namespace megalaunch {

/// Rows of a hand-made table of results: comma-separated with a header line, quoted fields with
/// commas and line breaks, UTF-8. Columns by name, in any order and capitals, others ignored:
/// model, nodes, gpus, precision, tp, pp, cp, mbs, gbs, seq, ac (or activations), vpp (or
/// virtual_stage_layers), tflops (or tflops_per_gpu), elapsed_ms (or ms_per_iteration), memory_mib
/// (or max_memory_mib), outcome, error (or cause), name. `model` must be there. The report's own
/// CSV is such a table. An empty cell is unknown; a cell that should be a number and is not is an
/// error with line and column name. Rows are as written: derive() adds the rest. Pure.
Result<std::vector<RunSummary>> parse_measured_table(std::string_view text);

/// The same from a file; errors name it.
Result<std::vector<RunSummary>> read_measured_table(const std::filesystem::path& path);

}  // namespace megalaunch
