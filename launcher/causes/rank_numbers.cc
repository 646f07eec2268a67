#include "launcher/causes/rank_numbers.h"

#include <algorithm>
#include <set>

namespace megalaunch {

void name_by_the_same_cause(const std::vector<LineLabel>& labels, std::vector<LoggedRank>& ranks) {
  for (LoggedRank& nameless : ranks) {
    if (nameless.rank_known || nameless.finding.rule == nullptr) continue;
    const LoggedRank* first = nullptr;
    for (size_t i = 0; i < labels.size(); ++i)
      if (labels[i].rank && ranks[i].finding.rule == nameless.finding.rule &&
          (first == nullptr || ranks[i].finding.line < first->finding.line))
        first = &ranks[i];
    if (first == nullptr) continue;
    nameless.evidence.rank = first->evidence.rank;
    nameless.rank_known = true;
  }
}

void name_ranks_of_one_run(std::vector<LoggedRank>& ranks) {
  std::set<int> numbers;
  for (const LoggedRank& rank : ranks)
    if (rank.evidence.node_rank != 0 || !numbers.insert(rank.evidence.local_rank).second) return;
  for (LoggedRank& rank : ranks)
    if (rank.from_directory) rank.rank_known = true;
}

void add_accused_ranks(std::vector<LoggedRank>& ranks) {
  for (size_t i = 0; i < ranks.size(); ++i) {
    const auto accused = ranks[i].finding.accused;
    if (!accused || std::any_of(ranks.begin(), ranks.end(), [&](const LoggedRank& rank) {
          return rank.rank_known && rank.evidence.rank == *accused;
        }))
      continue;
    LoggedRank rank;
    rank.path = ranks[i].path;
    rank.evidence.rank = *accused;
    rank.evidence.ended_at = ranks[i].evidence.ended_at;
    rank.rank_known = true;
    ranks.push_back(std::move(rank));
  }
}

}  // namespace megalaunch
