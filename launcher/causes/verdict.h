#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "launcher/causes/cause_rules.h"
#include "launcher/causes/evidence.h"
#include "launcher/causes/finding.h"

namespace megalaunch {

/// Why a generation ended: the answer for the whole gang. Indices are into the evidence it was made
/// from.
struct Verdict {
  std::optional<size_t> first;  ///< the rank that failed first; nothing when none failed
  CauseKind kind = CauseKind::kUnknown;
  std::string rule;      ///< name of the rule that knew it; empty: none did
  bool certain = false;  ///< false: a symptom was all there was, or the rule says that other causes
                         ///< look the same
  RetryHabit habit;      ///< how such a failure is retried by default
  bool made_progress = false;      ///< some rank's log shows training iterations
  std::string text;                ///< the deciding line, or the end in words
  std::vector<std::string> lines;  ///< the lines that matter: a Python traceback in full
  std::string advice;
  std::vector<size_t>
      victims;  ///< ranks that died of it: their logs show symptoms of a failure elsewhere
  std::vector<size_t> alike;      ///< ranks that failed of the same cause by themselves
  std::vector<Finding> findings;  ///< per rank, in the order of the evidence; rules outlive this

  /// What two failures have in common when they are the same one: kind, rule and text without
  /// numbers and addresses, for device failures also the host. It does not depend on which rank
  /// came first.
  std::string signature;
};

/// Names the first failure of a generation. Pure; any order of evidence gives the same answer.
///
/// V-1  A rank that ended well, or that its agent stopped, is never first by its end.
/// V-2  Of the others, the one whose own cause has the earliest corrected time is first. A cause is
/// anything that is not
///      a victim's symptom. An error file's time, in whole seconds, stands for the end when it is
///      earlier.
/// V-3  Times closer than their uncertainties are a tie: a cause that a rule knows wins over an
///      unknown one, and one with text over one with an exit status alone; then the earlier rule of
///      the table, the earlier middle, the lower rank. An end of unknown cause is taken to be
///      uncertain by five seconds: it may be a symptom, and culprits can die slowly.
/// V-4  When all that failed are victims, a rank that was stopped while it wrote down a cause of
/// its own is first: it
///      had failed and had not ended yet. Its log must hold an error, not the stopping's own echo.
/// V-5  A rank that something outside asked to end (SIGTERM and the like) is first only when nobody
/// has another cause: its
///      launcher may have stopped it because of that.
/// V-6  When nobody has a cause, a lost node is first; else the one rank that the victims say they
/// waited for; else the earliest victim. The verdict on a victim is not certain.
Verdict decide(std::span<const Evidence> evidence, const CauseRules& rules);

/// The same when each rank's finding is there already: one per element of `evidence`, made with
/// `rules`.
Verdict decide(std::span<const Evidence> evidence, std::vector<Finding> findings,
               const CauseRules& rules);

}  // namespace megalaunch
