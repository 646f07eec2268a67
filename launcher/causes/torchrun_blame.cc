#include "launcher/causes/torchrun_blame.h"

#include <algorithm>
#include <variant>

#include "launcher/causes/rank_finding.h"

namespace megalaunch {
namespace {

namespace fs = std::filesystem;

void apply_failure(const TorchrunFailure& failure, LoggedRank& rank) {
  rank.evidence.end = failure.end;
  rank.evidence.pid = failure.pid;
  rank.evidence.host = failure.host;
  rank.evidence.stopped_by_us = failure.stopped_by_torchrun();
  if (failure.rank) {
    rank.evidence.rank = *failure.rank;
    rank.rank_known = true;
  }
}

/// A rank of which the log only says how it ended.
LoggedRank rank_without_text(const TorchrunFailure& failure, const fs::path& path, WallTime written,
                             const CauseRules& rules) {
  LoggedRank rank;
  rank.path = path;
  rank.evidence.rank = failure.local_rank.value_or(0);
  rank.evidence.local_rank = failure.local_rank.value_or(0);
  rank.evidence.ended_at = written + std::chrono::microseconds(failure.order);
  rank.rank_known = failure.rank || failure.local_rank;
  apply_failure(failure, rank);
  rank.finding = find_cause(rank.evidence, rules);
  rank.finding.line = failure.line;
  rank.finding.text = failure.text;
  return rank;
}

/// Which of the ranks the failure speaks of.
LoggedRank* rank_of(const TorchrunFailure& failure, std::vector<LoggedRank>& ranks,
                    const std::vector<LineLabel>& labels) {
  for (size_t i = 0; i < labels.size(); ++i)
    if ((failure.rank && labels[i].rank == failure.rank) ||
        (!labels[i].rank && labels[i].local_rank && labels[i].local_rank == failure.local_rank))
      return &ranks[i];
  return nullptr;
}

bool stopped_by_launcher(const Finding& finding) {
  return finding.rule != nullptr && finding.rule->stopping && finding.victim;
}

/// The strongest of what the texts say that befalls all ranks alike: an error of the program. Null:
/// none of them says such a thing, or one says more.
const LoggedRank* common_error(const std::vector<LoggedRank>& ranks, size_t texts,
                               const CauseRules& rules) {
  const auto end = ranks.begin() + static_cast<std::ptrdiff_t>(texts);
  const auto best = std::min_element(ranks.begin(), end, [&](const auto& a, const auto& b) {
    return stronger(a.finding, b.finding, rules);
  });
  const bool common = best != end && best->finding.kind == CauseKind::kConfig &&
                      best->finding.raised && !best->finding.victim;
  return common ? &*best : nullptr;
}

}  // namespace

bool silent(const LoggedRank& rank) {
  return rank.finding.source == Finding::Source::kNone &&
         std::holds_alternative<NotRecorded>(rank.evidence.end);
}

void apply_torchruns_blame(const std::vector<TorchrunFailure>& report, const fs::path& path,
                           WallTime written, const CauseRules& rules,
                           const std::vector<LineLabel>& labels, std::vector<LoggedRank>& ranks) {
  // Text without prefixes is that of the rank that torchrun blames, unless its end or a text with
  // a prefix says more.
  const size_t texts = ranks.size();
  size_t unlabelled = texts;
  for (size_t i = 0; i < texts; ++i)
    if (labels[i].empty() && !silent(ranks[i])) unlabelled = i;
  for (size_t i = 0; i < texts; ++i)
    if (unlabelled < texts && i != unlabelled && !silent(ranks[i]) &&
        !stronger(ranks[unlabelled].finding, ranks[i].finding, rules))
      unlabelled = texts;
  for (const TorchrunFailure& failure : report) {
    LoggedRank by_end = rank_without_text(failure, path, written, rules);
    const bool says_nothing = by_end.finding.source == Finding::Source::kNone;
    LoggedRank* rank = rank_of(failure, ranks, labels);
    if ((rank == nullptr || silent(*rank)) && failure.root_cause && unlabelled < texts &&
        !stronger(by_end.finding, ranks[unlabelled].finding, rules)) {
      rank = &ranks[unlabelled];
      if (failure.local_rank && !rank->rank_known) {
        rank->evidence.rank = *failure.local_rank;
        rank->rank_known = true;
      }
    }
    if (rank != nullptr) {
      apply_failure(failure, *rank);
      // It ended by itself; torchrun stopped the others because of that.
      if (failure.root_cause && says_nothing && stopped_by_launcher(rank->finding)) {
        rank->finding = by_end.finding;
        rank->finding.source = Finding::Source::kEnd;
        rank->evidence.ended_at = by_end.evidence.ended_at;
      }
      if (!failure.stopped_by_torchrun() && !says_nothing &&
          stronger(by_end.finding, rank->finding, rules)) {
        rank->finding = by_end.finding;
        rank->evidence.ended_at = by_end.evidence.ended_at;
      }
      continue;
    }
    if (failure.stopped_by_torchrun()) continue;  // it has no log and nothing to say
    if (says_nothing) {
      if (!failure.root_cause) continue;
      if (const LoggedRank* alike = common_error(ranks, texts, rules)) {
        // What it wrote is not in the log; torchrun saw it fail before those that wrote the same.
        by_end.finding = alike->finding;
        by_end.evidence.ended_at = alike->evidence.ended_at - std::chrono::microseconds(1);
      } else if (std::all_of(ranks.begin(), ranks.end(), silent)) {
        by_end.finding.source = Finding::Source::kEnd;
      } else {
        continue;
      }
    }
    ranks.push_back(std::move(by_end));
  }
}

}  // namespace megalaunch
