#include "launcher/causes/verdict.h"

#include <algorithm>
#include <cctype>

#include "launcher/causes/rank_finding.h"

namespace megalaunch {
namespace {

/// An error that no pattern of the table knows: it may be a symptom.
bool is_unknown(const Finding& finding) {
  if (finding.rule == nullptr) return finding.kind == CauseKind::kUnknown;
  return finding.rule->exceptions;
}

/// The rule that it was found with does not count, now that more is known.
void forget_rule(Finding& finding) {
  finding.rule = nullptr;
  finding.kind = CauseKind::kUnknown;
}

/// A victim whose symptom no rule knows may be gone this long before the culprit has finished dying
/// (a core dump, CUDA's tear-down): for so long a known cause that ends later is heard first.
constexpr seconds kSlowDeath{5};

/// When a failure happened, on node 0's clock, as far as it is known.
struct Window {
  WallTime from;
  WallTime until;
  WallTime middle() const { return from + (until - from) / 2; }
};

Window window_of(const Evidence& evidence, const Finding& finding) {
  const auto slack = std::chrono::duration_cast<WallTime::duration>(evidence.clock_uncertainty);
  Window window{evidence.corrected() - slack, evidence.corrected() + slack};
  if (evidence.error_file && evidence.error_file->timestamp) {
    const auto offset = std::chrono::duration_cast<WallTime::duration>(evidence.clock_offset);
    const WallTime second = *evidence.error_file->timestamp - offset;
    // The exception came before the end; a time behind the end is somebody else's clock or an old
    // file.
    if (second - slack <= window.until)
      window = {second - slack, std::min(window.until, second + seconds(1) + slack)};
  }
  if (is_unknown(finding)) window.until += kSlowDeath;
  return window;
}

/// How much a finding tells. More is better.
int witness(const Finding& finding) {
  const bool known = !is_unknown(finding);
  return (known ? 2 : 0) + (finding.line != 0 || finding.kind == CauseKind::kLostNode ? 1 : 0);
}

struct Candidate {
  size_t index = 0;
  Window window;
};

/// V-2 and V-3. The comparison of windows alone is not transitive, so: the earliest end of a window
/// bounds who can have been first, and among those the best witness is taken.
std::optional<size_t> earliest(std::vector<Candidate> candidates,
                               std::span<const Evidence> evidence,
                               const std::vector<Finding>& findings) {
  if (candidates.empty()) return std::nullopt;
  const auto bound =
      std::min_element(candidates.begin(), candidates.end(), [](const auto& a, const auto& b) {
        return a.window.until < b.window.until;
      })->window.until;
  std::erase_if(candidates,
                [&](const Candidate& candidate) { return candidate.window.from > bound; });
  const auto key = [&](const Candidate& candidate) {
    // Rules of one table lie in its order: the more telling one comes first.
    const Finding& finding = findings[candidate.index];
    return std::tuple(-witness(finding), finding.rule, candidate.window.middle(),
                      evidence[candidate.index].rank, evidence[candidate.index].node_rank);
  };
  return std::min_element(candidates.begin(), candidates.end(),
                          [&](const auto& a, const auto& b) { return key(a) < key(b); })
      ->index;
}

/// The rank was asked to end from outside, and somebody else's failure may be why.
bool was_stopped(const Finding& finding) {
  return finding.rule != nullptr && finding.rule->stopping;
}

/// What a rank says of itself when we stop it; such a line is not a cause.
bool echo_of_stopping(const Finding& finding) {
  return was_stopped(finding) || finding.source == Finding::Source::kEnd ||
         finding.text.find("KeyboardInterrupt") != std::string::npos ||
         finding.text.find("SystemExit") != std::string::npos;
}

/// The rank that the victims name as the one they waited for, where they name one alone.
std::optional<int> accused_rank(const std::vector<Finding>& findings) {
  std::optional<int> accused;
  for (const Finding& finding : findings) {
    if (!finding.accused) continue;
    if (accused && accused != finding.accused) return std::nullopt;
    accused = finding.accused;
  }
  return accused;
}

/// Numbers and addresses differ between two runs of the same failure.
std::string without_numbers(std::string_view text) {
  std::string result;
  for (size_t i = 0; i < text.size() && result.size() < 200; ++i) {
    if (text.substr(i).starts_with("0x")) {
      result += '#';
      for (i += 2; i < text.size() && std::isxdigit(static_cast<unsigned char>(text[i])); ++i) {
      }
      --i;
    } else if (std::isdigit(static_cast<unsigned char>(text[i]))) {
      if (result.empty() || result.back() != '#') result += '#';
    } else {
      result += text[i];
    }
  }
  return result;
}

void describe(Verdict& verdict, std::span<const Evidence> evidence, const CauseRules& rules) {
  const Evidence& first = evidence[*verdict.first];
  const Finding& finding = verdict.findings[*verdict.first];
  verdict.kind = finding.kind;
  verdict.certain = finding.certain;
  verdict.habit = finding.rule != nullptr ? finding.rule->habit : rules.habit(finding.kind);
  if (finding.rule != nullptr) {
    verdict.rule = finding.rule->name;
    verdict.advice = finding.rule->advice;
  }
  verdict.text = finding.text.empty() ? describe(first.end) : finding.text;
  verdict.lines = finding.lines;
  verdict.signature =
      fmt::format("{}/{}/{}", to_string(verdict.kind), verdict.rule, without_numbers(verdict.text));
  if (verdict.kind == CauseKind::kDevice) verdict.signature += '@' + first.host;
}

}  // namespace

Verdict decide(std::span<const Evidence> evidence, const CauseRules& rules) {
  std::vector<Finding> findings;
  for (const Evidence& one : evidence) findings.push_back(find_cause(one, rules));
  return decide(evidence, std::move(findings), rules);
}

Verdict decide(std::span<const Evidence> evidence, std::vector<Finding> findings,
               const CauseRules& rules) {
  Verdict verdict;
  verdict.findings = std::move(findings);
  verdict.made_progress = std::any_of(verdict.findings.begin(), verdict.findings.end(),
                                      [](const Finding& finding) { return finding.made_progress; });
  // One rank's iteration lines tell that all had trained.
  for (Finding& finding : verdict.findings)
    if (verdict.made_progress && finding.rule != nullptr && finding.rule->before_training)
      forget_rule(finding);
  // What one rank said last tells nothing where another one knows more.
  const auto guessed = [](const Finding& finding) {
    return finding.rule != nullptr && finding.rule->last_words;
  };
  const bool known =
      std::any_of(verdict.findings.begin(), verdict.findings.end(), [&](const Finding& finding) {
        return finding.line != 0 && !guessed(finding) &&
               (finding.rule == nullptr || finding.kind != CauseKind::kUnknown);
      });
  for (Finding& finding : verdict.findings)
    if (known && guessed(finding)) {
      forget_rule(finding);
      finding.line = 0;
    }
  const auto pick = [&](auto&& wanted) {
    std::vector<Candidate> candidates;
    for (size_t i = 0; i < evidence.size(); ++i)
      if (wanted(evidence[i], verdict.findings[i]))
        candidates.push_back({i, window_of(evidence[i], verdict.findings[i])});
    return earliest(std::move(candidates), evidence, verdict.findings);
  };
  const auto failed = [](const Evidence& one) { return !succeeded(one.end) && !one.stopped_by_us; };

  verdict.first = pick([&](const auto& one, const auto& finding) {
    return failed(one) && !finding.victim && !was_stopped(finding);
  });
  // Of an exception without its name nothing tells that it is none of the symptoms before it.
  if (verdict.first && verdict.findings[*verdict.first].nameless)
    if (const auto before = pick([&](const auto& one, const auto& finding) {
          return failed(one) && finding.victim && !was_stopped(finding) &&
                 one.corrected() < evidence[*verdict.first].corrected();
        }))
      verdict.first = before;
  const bool somebody_failed = std::any_of(evidence.begin(), evidence.end(), failed);
  if (!verdict.first && somebody_failed)
    verdict.first = pick([&](const auto& one, const auto& finding) {
      return one.stopped_by_us && finding.line != 0 && !finding.victim &&
             !echo_of_stopping(finding);
    });
  if (!verdict.first)
    verdict.first =
        pick([&](const auto& one, const auto& finding) { return failed(one) && !finding.victim; });
  if (!verdict.first) {
    verdict.first = pick([&](const auto& one, const auto&) { return failed(one); });
    const auto rank = accused_rank(verdict.findings);
    for (size_t i = 0; i < evidence.size() && verdict.first && rank; ++i) {
      if (evidence[i].rank != *rank || i == *verdict.first) continue;
      // It may say nothing itself: what the others say of it stands for that.
      if (verdict.findings[i].rule == nullptr || echo_of_stopping(verdict.findings[i])) {
        verdict.findings[i] = verdict.findings[*verdict.first];
        verdict.findings[i].line = 0;
      }
      verdict.first = i;
      break;
    }
  }
  if (!verdict.first) return verdict;

  describe(verdict, evidence, rules);
  for (size_t i = 0; i < evidence.size(); ++i) {
    if (i == *verdict.first || !failed(evidence[i])) continue;
    const Finding& finding = verdict.findings[i];
    if (finding.victim) {
      verdict.victims.push_back(i);
    } else if (finding.kind == verdict.kind &&
               finding.rule == verdict.findings[*verdict.first].rule) {
      verdict.alike.push_back(i);
    }
  }
  return verdict;
}

}  // namespace megalaunch
