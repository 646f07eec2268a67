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

/// Gives the ranks their ends from torchrun's report. A rank of which nothing else is known becomes
/// one of its own when its end tells something; "exitcode 1" does only when there is no other text
/// at all.
///
/// `labels` are those of `ranks`, one each; ranks that only the report knows are added behind them.
/// Where the blamed rank has written nothing into this log, and what others wrote is an error of
/// the program, which befalls all ranks alike, it failed of the same: torchrun saw it fail first.
void apply_torchruns_blame(const std::vector<TorchrunFailure>& report,
                           const std::filesystem::path& path, WallTime written,
                           const CauseRules& rules, const std::vector<LineLabel>& labels,
                           std::vector<LoggedRank>& ranks);

}  // namespace megalaunch
