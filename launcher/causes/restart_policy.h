#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <variant>

#include "env/clock.h"
#include "env/result.h"
#include "launcher/causes/cause_rules.h"
#include "launcher/causes/evidence.h"
#include "launcher/causes/training_progress.h"

namespace megalaunch {

struct Verdict;

/// How often and how fast a gang is started again: the job file's `restart:` section.
struct RestartLimits {
  bool any_cause = false;  ///< every failure is retried, at once, until `max` restarts are used up,
                           ///< whatever its cause: torchrun's --max-restarts. The job then ends
                           ///< with the first failed rank's code, 128+n for signal n.
  int max = 3;             ///< restarts without progress in between, whatever their causes
  std::optional<int> lifetime;  ///< restarts ever, progress or not (torchrun's --max-restarts)
  std::map<CauseKind, int>
      per_kind;  ///< in place of the table's retries for the kind, and of its needs_progress
  milliseconds backoff{5000};  ///< before the first restart; doubles with each further one
  milliseconds backoff_cap{300'000};
};

/// What must be remembered between two failures; node 0 keeps it in its journal. A plain value.
struct RestartHistory {
  int restarts = 0;                   ///< so far, over the job's whole life
  int since_progress = 0;             ///< restarts since training last got further
  std::map<CauseKind, int> per_kind;  ///< of those, by the kind of their cause
  std::string last_signature;         ///< of the last failure (Verdict::signature)
  TrainingProgress furthest;          ///< over all generations
};

nlohmann::json to_json(const RestartHistory& history);
Result<RestartHistory> restart_history_from_json(const nlohmann::json& json);

/// Start all ranks again after this long.
struct Retry {
  milliseconds after{0};
};
/// End the job, on every node with this exit code.
struct End {
  int exit_code = 1;
};

struct RestartDecision {
  std::variant<Retry, End> action;
  std::string reason;      ///< one sentence for a person
  RestartHistory history;  ///< to remember in place of the old one
};

/// Decides what follows a failure. Pure.
///
/// R-1  TrainingProgress since the last failure sets the counts back to zero: an iteration beyond
/// all earlier generations', or
///      a newer checkpoint. Repeating iterations that a checkpoint had lost is no progress.
/// R-2  A cause with no retries ends the job with the failed rank's own exit code.
/// R-3  The same failure (signature) twice without progress in between ends the job when its rule
/// or kind says
///      `repeat_ends`: a retry was tried and did not cure it. Kills from outside, lost nodes and
///      broken connections do not say so: that they happen again tells nothing about the job.
/// R-4  A kind with `needs_progress` is retried only if the failed attempt had trained: an unknown
/// error before the
///      first iteration would come back.
/// R-5  Spent counts (of the kind, of all kinds, of the lifetime) end the job with 144: the
/// platform may try elsewhere. R-6  The delay doubles with every restart since progress, up to the
/// cap.
RestartDecision decide_restart(const RestartLimits& limits, const RestartHistory& history,
                               const Verdict& verdict, const RankEnd& first_end,
                               const TrainingProgress& progress);

/// Whether such a failure is worth a retry by itself, all counts being fresh: what `diagnose`
/// answers.
bool worth_retrying(const Verdict& verdict, const RestartLimits& limits = {});

/// The exit code of the job for a cause that a retry does not cure: the rank's own, 1 to 127; 1 for
/// anything else.
int own_exit_code(const RankEnd& end);

}  // namespace megalaunch
