#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "env/result.h"
#include "launcher/causes/cause_patterns.h"

namespace megalaunch {

/// What kind of thing went wrong. The kind decides whether another attempt can help; docs/causes.md
/// describes each.
enum class CauseKind {
  kConfig,
  kOutOfMemory,
  kHostOutOfMemory,
  kStore,
  kNetwork,
  kDevice,
  kNumeric,
  kData,
  kSignal,
  kLostNode,
  kUnknown,
};
inline constexpr size_t kCauseKinds = 11;

/// The name that configs/causes.yaml, job files and reports use, such as "out-of-memory".
std::string_view to_string(CauseKind kind);
/// The kind of that name, or nothing.
std::optional<CauseKind> parse_cause_kind(std::string_view name);

/// How failures of one kind are retried unless a rule or the job file says otherwise.
struct RetryHabit {
  int retries = 0;           ///< restarts without progress in between
  bool repeat_ends = false;  ///< the same failure twice without progress ends the job
  bool needs_progress =
      false;  ///< retried only when the failed attempt had trained at least one iteration
  bool pinned =
      false;  ///< set by the rule itself: the job file's number for the kind does not change it
};

/// One row of the table. A rule speaks when one of its patterns is in a rank's log or error file,
/// or when the rank ended with one of its exit codes or signals.
struct CauseRule {
  std::string name;
  CauseKind kind = CauseKind::kUnknown;
  std::vector<std::string> match;  ///< patterns, see PatternSet
  std::vector<std::string> frame;  ///< patterns of which one must be in a frame of the traceback
                                   ///< above; alone, any exception behind such a frame matches
  bool fold_case = false;          ///< the patterns ignore ASCII case
  std::vector<int> codes;
  std::vector<int> signals;
  bool victim = false;  ///< the usual symptom of a failure elsewhere: a cause only when nothing
                        ///< better is found
  bool weak = false;    ///< counts only when no other rule says anything about the rank, and only
                        ///< behind its last training iteration
  bool silent = false;  ///< a crash: does not count in a log with an exception of its own, whose
                        ///< tear-down it may be
  bool stopping =
      false;  ///< how a rank also ends when it is stopped: a cause only when no rank has another
  bool before_training = false;  ///< its patterns count only in a log without training iterations
  bool last_words = false;  ///< its patterns count only in what a program said last, where no rule
                            ///< knows a line of the log and it shows neither exception nor training
  bool exceptions = false;  ///< speaks about every Python exception that no pattern knows
  bool certain = true;      ///< false: other causes look the same
  bool of_nccl = false;     ///< it speaks of what NCCL can fail with: a network, a device, memory,
                            ///< or what a pattern calls by NCCL's or CUDA's name
  RetryHabit habit;         ///< the kind's, with what the rule overrides
  std::string advice;
};

/// The table of rules, in order of strength: of two rules that match one rank's log, the earlier
/// one names its cause. Immutable once made, cheap to copy, safe to share between threads.
class CauseRules {
 public:
  /// configs/causes.yaml as it was when this binary was built. Free until it is asked the first
  /// question: a job that does not fail needs none of it.
  static CauseRules built_in();

  /// A table from text in the format of configs/causes.yaml; `file` names it in errors
  /// ("file:line:column: ..."). Unknown and duplicate keys, unknown kinds and duplicate rule names
  /// are errors of kind kUsage.
  static Result<CauseRules> parse(std::string_view yaml, std::string_view file);

  /// This table with a user's on top: their rules come first, a rule of the same name replaces
  /// ours, and a kind's habits listed there replace ours (also in our rules that do not override
  /// them).
  Result<CauseRules> with(std::string_view yaml, std::string_view file) const;

  const std::vector<CauseRule>& rules() const;
  const RetryHabit& habit(CauseKind kind) const;
  /// The patterns of all rules for lines, and those for frames of tracebacks; an id is the rule's
  /// index in rules().
  const PatternSet& patterns() const;
  const PatternSet& frame_patterns() const;

 private:
  struct Table;
  explicit CauseRules(std::shared_ptr<const Table> table) : table_(std::move(table)) {}
  const Table& table() const;
  std::shared_ptr<const Table> table_;  ///< null: the built-in one
};

}  // namespace megalaunch
