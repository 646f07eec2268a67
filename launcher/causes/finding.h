#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "launcher/causes/cause_rules.h"

namespace megalaunch {

struct LogLine;

/// What one rank's own evidence says about its end, before the other ranks are heard.
struct Finding {
  enum class Source { kNone, kErrorFile, kStderr, kStdout, kEnd };

  const CauseRule* rule = nullptr;  ///< within the rules it was found with; null: nothing matched
  CauseKind kind = CauseKind::kUnknown;
  bool victim = false;
  bool certain = false;
  Source source = Source::kNone;
  size_t line = 0;   ///< number of the deciding line in its source, from 1; 0: no line
  std::string text;  ///< that line
  std::vector<std::string> lines;  ///< the lines that matter: a Python traceback in full
  std::optional<int> rank;  ///< the rank that this line, or another one of the same rule, speaks of
                            ///< as its own
  std::optional<int> accused;  ///< the rank that a line says all others waited for
  bool exception = false;      ///< the deciding line is what was raised, not what was merely said
  bool nameless = false;       ///< an exception of which the log cuts the name off
  bool made_progress = false;  ///< the log shows training iterations
  bool raised = false;  ///< an exception of its own is in it, behind the last training iteration

  void apply(const CauseRule& by);  ///< takes what the rule says about the kind of failure
};

/// Kinds whose words programs also write into lines that end nobody: "permission denied" of an
/// optional file, a server that was asked again.
bool is_chatty(CauseKind kind);

/// Looks for the cause of one rank's end in what it wrote. Pure.
///
/// Of the rules that match one line, the earliest of the table is heard, whatever the others are.
/// Of the lines, a match behind the last sign of progress beats one before it; a strong rule beats
/// a weak one; a cause beats a victim's symptom; then the earlier rule of the table, then the
/// earlier line. An exception that no rule knows is `unknown` with its traceback.
Finding find_cause(const std::vector<LogLine>& lines, const CauseRules& rules);

/// Whether `a` says more about a rank than `b`; both made with `rules`.
bool stronger(const Finding& a, const Finding& b, const CauseRules& rules);

}  // namespace megalaunch
