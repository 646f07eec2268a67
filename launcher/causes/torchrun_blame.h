#pragma once

#include <filesystem>
#include <vector>

#include "env/clock.h"
#include "launcher/causes/finished_logs.h"
#include "launcher/causes/line_label.h"
#include "launcher/causes/torchrun_report.h"

namespace megalaunch {

/// Nothing was found in its text, and its end is not known.
bool silent(const LoggedRank& rank);

/// Gives the ranks their ends from torchrun's report. `labels` are those of `ranks`, one each; a
/// rank that only the report knows is added behind them when its end tells something. "exitcode 1"
/// tells nothing. So, of the blamed rank alone: where others wrote an error of the program, which
/// befalls all ranks alike, it failed of the same, and first; where there is no other text at all,
/// that is all that is known.
void apply_torchruns_blame(const std::vector<TorchrunFailure>& report,
                           const std::filesystem::path& path, WallTime written,
                           const CauseRules& rules, const std::vector<LineLabel>& labels,
                           std::vector<LoggedRank>& ranks);

}  // namespace megalaunch
