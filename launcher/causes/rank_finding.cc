#include "launcher/causes/rank_finding.h"

#include <csignal>
#include <utility>
#include <variant>

#include "launcher/causes/end_rule.h"
#include "launcher/causes/evidence.h"
#include "launcher/causes/log_lines.h"

namespace megalaunch {
namespace {

Finding find_in_text(std::string_view text, Finding::Source source, const CauseRules& rules) {
  Finding finding = find_cause(split_log(text), rules);
  if (finding.line != 0) finding.source = source;
  return finding;
}

}  // namespace

Finding find_cause(const Evidence& evidence, const CauseRules& rules) {
  Finding best;
  bool progress = false;
  bool raised = false;
  std::optional<int> accused;
  const auto consider = [&](Finding finding) {
    if (!accused) accused = finding.accused;
    progress = progress || finding.made_progress;
    raised = raised || finding.raised;
    if (stronger(finding, best, rules)) best = std::move(finding);
  };
  if (evidence.error_file) {
    const ErrorFile& file = *evidence.error_file;
    Finding finding = find_in_text(file.message, Finding::Source::kErrorFile, rules);
    // The traceback's frames tell more than the message alone.
    Finding traced = find_in_text(file.py_callstack, Finding::Source::kErrorFile, rules);
    if (stronger(traced, finding, rules)) finding = std::move(traced);
    if (finding.line == 0 && !file.message.empty()) {
      finding.source = Finding::Source::kErrorFile;
      finding.line = 1;
      finding.text = file.message;
    }
    raised = !file.message.empty() && !finding.victim;
    if (!file.py_callstack.empty()) {
      finding.lines.clear();
      for (const LogLine& line : split_log(file.py_callstack))
        finding.lines.emplace_back(line.whole);
    }
    consider(std::move(finding));
  }
  consider(find_in_text(evidence.stderr_tail, Finding::Source::kStderr, rules));
  consider(find_in_text(evidence.stdout_tail, Finding::Source::kStdout, rules));
  if (const CauseRule* rule = rule_of_end(evidence.end, raised, rules)) {
    Finding finding;
    finding.source = Finding::Source::kEnd;
    finding.apply(*rule);
    finding.text = describe(evidence.end);
    consider(std::move(finding));
  }
  const auto* exited = std::get_if<Exited>(&evidence.end);
  if (evidence.log_disk_full && best.line == 0 && exited != nullptr && exited->code != 0) {
    // It could not write why it ended; that is likely to be why.
    best = find_in_text("No space left on device", Finding::Source::kEnd, rules);
    best.line = 0;
    best.lines.clear();
    best.certain = false;
    best.text =
        describe(evidence.end) + "; no space left on the disk of its logs for its last words";
  }
  const auto* signaled = std::get_if<Signaled>(&evidence.end);
  if (evidence.oom_killed && signaled != nullptr && signaled->signal == SIGKILL) {
    best.kind = CauseKind::kHostOutOfMemory;
    best.victim = false;
    best.certain = true;
    best.text = "was killed by SIGKILL (9), sent by the kernel: the container's memory was full";
    for (const CauseRule& rule : rules.rules())
      if (rule.kind == CauseKind::kHostOutOfMemory) {
        best.rule = &rule;
        break;
      }
  }
  if (std::holds_alternative<LostNode>(evidence.end)) {
    best = Finding{};
    best.source = Finding::Source::kEnd;
    best.kind = CauseKind::kLostNode;
    best.certain = true;
    best.text = describe(evidence.end);
  }
  best.made_progress = progress;
  best.raised = raised;
  best.accused = accused;
  return best;
}

}  // namespace megalaunch
