#include "launcher/gang/finding.h"

#include <algorithm>
#include <csignal>
#include <tuple>
#include <utility>

#include "launcher/gang/evidence.h"
#include "launcher/gang/log_lines.h"
#include "launcher/gang/scan.h"
#include "launcher/gang/tracebacks.h"

namespace megalaunch {
namespace {

/// A rule of kind `unknown` knows that something failed, not why.
bool is_hint(const CauseRule& rule) {
  return rule.kind == CauseKind::kUnknown;
}

/// One rule's match. Smaller is stronger.
struct Match {
  bool hint = false;
  bool before_progress = false;
  bool weak = false;
  bool victim = false;
  bool remark = false;  ///< a mere line before an exception that says more
  bool stopping = false;
  size_t rule = 0;
  size_t index = 0;  ///< of the line
  bool raised = false;

  auto strength() const {
    return std::tie(hint, before_progress, weak, victim, remark, stopping, rule, index);
  }
};

/// Kinds whose words programs also write into lines that end nobody: "permission denied" of an
/// optional file, a server that was asked again.
bool is_chatty(CauseKind kind) {
  return kind == CauseKind::kConfig || kind == CauseKind::kData || kind == CauseKind::kNetwork ||
         kind == CauseKind::kStore;
}

/// A warning or information that did not end anybody, such as torch's "[W socket.cpp ...]" while it
/// still tries, or what NCCL goes without at its level INFO. NCCL's warnings are kept: it says no
/// more before it fails.
bool is_remark(std::string_view text) {
  if (text.find("NCCL WARN") != text.npos) return false;
  if (text.find("NCCL INFO") != text.npos) return true;
  const auto digit = [&](size_t at) {
    return at < text.size() && text[at] >= '0' && text[at] <= '9';
  };
  // [W and [I: torch's warnings and information from C++.
  if ((text.starts_with("[W") || text.starts_with("[I")) &&
      (digit(2) || text.substr(2).starts_with(' ')))
    return true;
  if (text.starts_with('W') && digit(1) && digit(2) && digit(3)) return true;
  const std::string_view start = text.substr(0, 200);
  // What pip says of a package that it did not install stays without consequence.
  for (const std::string_view level :
       {"WARNING", "Warning: ", "[DEBUG]", "ERROR: pip's dependency resolver"})
    if (start.find(level) != start.npos) return true;
  return false;
}

/// The lists of arguments that Megatron and DeepSpeed print ("  rerun_mode ............ disabled"):
/// names of settings, not events.
bool is_setting(std::string_view text) {
  const size_t dots = text.find(" ...");
  return dots != text.npos && text.find("  ") < dots &&
         text.find_first_not_of('.', dots + 1) < text.size() &&
         text[text.find_first_not_of('.', dots + 1)] == ' ';
}

/// An exception in torchrun's report is indented; patterns tied to the start must still see it.
std::string_view matched_part(std::string_view text) {
  if (!is_exception(text)) return text;
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  return text;
}

bool contains(const std::vector<int>& values, int value) {
  return std::find(values.begin(), values.end(), value) != values.end();
}

/// The strongest rule on the exit status alone; `raised`: the rank had written an exception.
const CauseRule* rule_of_end(const RankEnd& end, bool raised, const CauseRules& rules) {
  const CauseRule* found = nullptr;
  for (const CauseRule& rule : rules.rules()) {
    if (rule.silent && raised) continue;
    const auto* exited = std::get_if<Exited>(&end);
    const auto* signaled = std::get_if<Signaled>(&end);
    if (!(exited != nullptr && contains(rule.codes, exited->code)) &&
        !(signaled != nullptr && contains(rule.signals, signaled->signal)))
      continue;
    if (found == nullptr || (found->weak && !rule.weak)) found = &rule;
  }
  return found;
}

void apply(const CauseRule& rule, Finding& finding) {
  finding.rule = &rule;
  finding.kind = rule.kind;
  finding.victim = rule.victim;
  finding.certain = rule.certain && !rule.victim;
}

/// The rule for exceptions that no pattern knows, in a log with or without training iterations.
const CauseRule* rule_of_exceptions(bool trained, const CauseRules& rules) {
  for (const CauseRule& rule : rules.rules())
    if (rule.exceptions && !(rule.before_training && trained)) return &rule;
  return nullptr;
}

/// Of the rules in `ids`, drops those that ask for a frame that is not there, and adds those that
/// ask for nothing but a frame that is.
void keep_in_frames(const std::vector<std::string_view>& frames, const CauseRules& rules,
                    std::vector<size_t>& ids) {
  std::vector<size_t> framed;
  for (const std::string_view frame : frames) rules.frame_patterns().match(frame, framed);
  std::erase_if(ids, [&](size_t id) {
    return !rules.rules()[id].frame.empty() &&
           std::find(framed.begin(), framed.end(), id) == framed.end();
  });
  for (const size_t id : framed)
    if (rules.rules()[id].match.empty()) ids.push_back(id);
}

/// torch.multiprocessing.spawn says above a traceback whose it is: "-- Process 1 terminated with
/// the following error:".
std::optional<int> rank_spawned(const std::vector<LogLine>& lines, size_t index) {
  constexpr size_t kReach = 200;
  for (size_t back = index; back > 0 && index - back < kReach; --back) {
    std::string_view text = lines[back - 1].text;
    if (!scan::take(text, "-- Process ")) continue;
    return scan::take_number(text);
  }
  return std::nullopt;
}

Finding find_in_text(std::string_view text, Finding::Source source, const CauseRules& rules) {
  Finding finding = find_cause(split_log(text), rules);
  if (finding.line != 0) finding.source = source;
  return finding;
}

}  // namespace

bool stronger(const Finding& a, const Finding& b, const CauseRules& rules) {
  const auto key = [&](const Finding& finding) {
    const bool none = finding.source == Finding::Source::kNone;
    size_t order = rules.rules().size();
    if (finding.rule != nullptr)
      order = is_hint(*finding.rule) ? order + 1
                                     : static_cast<size_t>(finding.rule - rules.rules().data());
    const bool weak = finding.rule == nullptr || finding.rule->weak;
    const bool stopping = finding.rule != nullptr && finding.rule->stopping;
    return std::tuple(none, weak, finding.victim, stopping, order);
  };
  return key(a) < key(b);
}

Finding find_cause(const std::vector<LogLine>& lines, const CauseRules& rules) {
  std::optional<size_t> last_progress;
  std::optional<size_t> last_exception;
  // Behind the last progress, and neither a symptom nor the echo of a crash.
  std::optional<size_t> first_own_exception;
  std::vector<Match> matches;
  std::vector<size_t> ids;
  const std::vector<std::string_view> no_frames;
  Tracebacks tracebacks;
  // What one line says is what the earliest rule reads in it: later ones read it with looser words.
  const auto hear = [&](size_t index, bool raised) {
    if (!ids.empty()) {
      const size_t id = *std::min_element(ids.begin(), ids.end());
      ids.assign(1, id);
      const CauseRule& rule = rules.rules()[id];
      matches.push_back({.hint = is_hint(rule),
                         .weak = rule.weak,
                         .victim = rule.victim,
                         .stopping = rule.stopping,
                         .rule = id,
                         .index = index,
                         .raised = raised});
    }
    // A launcher's exception about another process explains nothing.
    if (!raised || (!ids.empty() && is_hint(rules.rules()[ids[0]]))) return;
    last_exception = index;
    const bool symptom = std::any_of(ids.begin(), ids.end(), [&](size_t id) {
      const CauseRule& rule = rules.rules()[id];
      return rule.victim || rule.silent || rule.stopping;
    });
    if (!symptom && !first_own_exception) first_own_exception = index;
  };
  for (size_t i = 0; i < lines.size(); ++i) {
    const std::string_view text = lines[i].text;
    const auto part = tracebacks.read(text);
    if (part == Tracebacks::Part::kQuoted || is_remark(text) || is_setting(text)) continue;
    if (is_progress(text)) {
      last_progress = i;
      first_own_exception.reset();
    }
    ids.clear();
    rules.patterns().match(matched_part(text), ids);
    const bool raised = part == Tracebacks::Part::kException;
    const std::string_view logged = raised ? std::string_view{} : logged_exception(text);
    if (!logged.empty()) rules.patterns().match(logged, ids);
    keep_in_frames(raised ? tracebacks.frames() : no_frames, rules, ids);
    hear(i, raised || !logged.empty());
  }
  if (const auto raised = tracebacks.cut_off()) {
    ids.clear();
    rules.patterns().match(*raised, ids);
    keep_in_frames(tracebacks.frames(), rules, ids);
    hear(lines.size() - 1, true);
  }
  Finding finding;
  finding.made_progress = last_progress.has_value();
  finding.raised = first_own_exception.has_value();
  // A crash may be the exception's tear-down, and a launcher stops what it has seen fail.
  if (finding.raised)
    std::erase_if(matches, [&](const Match& match) {
      return match.stopping || rules.rules()[match.rule].silent;
    });
  if (last_progress)
    std::erase_if(matches,
                  [&](const Match& match) { return rules.rules()[match.rule].before_training; });
  for (Match& match : matches)
    match.before_progress = last_progress && match.index < *last_progress;
  // What a mere line says before an exception that is a cause itself was survived.
  const auto last_raised = std::find_if(matches.rbegin(), matches.rend(), [](const Match& match) {
    return match.raised && !match.hint && !match.weak && !match.victim && !match.stopping;
  });
  if (last_raised != matches.rend())
    for (Match& match : matches)
      match.remark = !match.raised && match.index < last_raised->index &&
                     is_chatty(rules.rules()[match.rule].kind);
  std::erase_if(matches, [](const Match& match) { return match.weak && match.before_progress; });
  // What a launcher stops behind its report of a failure, it stops because of that.
  const auto reported = std::find_if(matches.begin(), matches.end(), [&](const Match& match) {
    return match.hint && !rules.rules()[match.rule].stopping;
  });
  if (reported != matches.end())
    std::erase_if(matches, [index = reported->index](const Match& match) {
      return match.stopping && match.victim && match.index > index;
    });
  const auto best =
      std::min_element(matches.begin(), matches.end(),
                       [](const Match& a, const Match& b) { return a.strength() < b.strength(); });
  std::optional<size_t> deciding;
  // An exception that nothing knows, behind the progress that a match lies before, is the better
  // witness.
  const bool unknown_later = best != matches.end() && ((best->before_progress && finding.raised) ||
                                                       (best->hint && last_exception.has_value()));
  // So is one of its own before all symptoms: what comes down behind it breaks its connections.
  const bool unknown_first = best != matches.end() && best->victim && finding.raised &&
                             std::all_of(matches.begin(), matches.end(), [&](const Match& match) {
                               return match.before_progress || match.index > *first_own_exception;
                             });
  if (best != matches.end() && !unknown_later && !unknown_first) {
    apply(rules.rules()[best->rule], finding);
    deciding = best->index;
    for (const Match& match : matches)
      if (!finding.rank && match.rule == best->rule && !match.before_progress)
        finding.rank = rank_named_in(lines[match.index].text);
  } else if (last_exception) {
    if (const CauseRule* rule = rule_of_exceptions(last_progress.has_value(), rules))
      apply(*rule, finding);
    deciding = unknown_first ? first_own_exception : last_exception;
    finding.rank = rank_named_in(lines[*deciding].text);
  }
  if (deciding && !finding.rank) finding.rank = rank_spawned(lines, *deciding);
  if (deciding) {
    finding.source = Finding::Source::kStderr;
    finding.line = lines[*deciding].number;
    finding.text = std::string(lines[*deciding].text.substr(0, PatternSet::kMaxLine));
    finding.lines = lines_that_matter(lines, *deciding);
  }
  return finding;
}

Finding find_cause(const Evidence& evidence, const CauseRules& rules) {
  Finding best;
  bool progress = false;
  bool raised = false;
  const auto consider = [&](Finding finding) {
    progress = progress || finding.made_progress;
    raised = raised || finding.raised;
    if (stronger(finding, best, rules)) best = std::move(finding);
  };
  if (evidence.error_file) {
    const ErrorFile& file = *evidence.error_file;
    Finding finding = find_in_text(file.message, Finding::Source::kErrorFile, rules);
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
    apply(*rule, finding);
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
  return best;
}

}  // namespace megalaunch
