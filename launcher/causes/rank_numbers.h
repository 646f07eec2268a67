#pragma once

#include <vector>

#include "launcher/causes/finished_logs.h"
#include "launcher/causes/line_label.h"

namespace megalaunch {

/// A kernel's message and the like have no prefix; the exception that follows from it has one.
/// Gives a nameless rank of one log the number of the earliest rank with the same cause; `labels`
/// are those of the first ranks.
void name_by_the_same_cause(const std::vector<LineLabel>& labels, std::vector<LoggedRank>& ranks);

/// torchrun's directories only hold local ranks. With one node these are the ranks.
void name_ranks_of_one_run(std::vector<LoggedRank>& ranks);

/// Adds the ranks that others waited for and that have no line of their own.
void add_accused_ranks(std::vector<LoggedRank>& ranks);

}  // namespace megalaunch
