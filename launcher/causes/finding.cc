#include "launcher/causes/finding.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include "launcher/causes/log_lines.h"
#include "launcher/causes/named_rank.h"
#include "launcher/causes/remarks.h"
#include "launcher/causes/tear_downs.h"
#include "launcher/causes/tracebacks.h"

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

/// An exception in torchrun's report is indented; patterns tied to the start must still see it.
/// What was copied from a terminal has blanks at its end.
std::string_view matched_part(std::string_view text) {
  text = text.substr(0, text.find_last_not_of(' ') + 1);
  if (!is_exception(text)) return text;
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  return text;
}

/// The rule for exceptions that no pattern knows, in a log with or without training iterations.
const CauseRule* rule_of_exceptions(bool trained, const CauseRules& rules) {
  for (const CauseRule& rule : rules.rules())
    if (rule.exceptions && !(rule.before_training && trained)) return &rule;
  return nullptr;
}

/// What the lines of one rank say, rule by rule.
class Hearing {
 public:
  Hearing(const std::vector<LogLine>& lines, const CauseRules& rules)
      : lines_(lines), rules_(rules) {
    read();
    weigh();
  }
  Finding finding() const;

 private:
  void read();
  void weigh();
  std::vector<size_t> ids_of(std::string_view text, std::string_view logged,
                             const std::vector<std::string_view>& frames) const;
  bool hear(const std::vector<size_t>& ids, size_t index, bool raised);
  void hear_last_words();
  bool drawn_again(std::string_view text);
  std::optional<int> blamed() const;
  const CauseRule& rule(const Match& match) const { return rules_.rules()[match.rule]; }

  const std::vector<LogLine>& lines_;
  const CauseRules& rules_;
  std::vector<Match> matches_;
  std::vector<size_t> said_;  ///< the lines that no rule knows and that are the program's own words
  std::map<std::string_view, std::string_view> bars_;  ///< by total, where each of them is
  std::optional<size_t> last_progress_;
  std::optional<size_t> last_exception_;
  bool nameless_ = false;  ///< the last exception: cut off before its name
  std::optional<int> accused_;
  /// Behind the last progress, and neither a symptom nor the echo of a crash.
  std::optional<size_t> first_own_exception_;
};

/// The rules that know the line, or what a logger wrote into it. Those that ask for a frame count
/// only where there is one, and those that ask for nothing else count then. Of what NCCL itself
/// says, only rules know that speak of such things.
std::vector<size_t> Hearing::ids_of(std::string_view text, std::string_view logged,
                                    const std::vector<std::string_view>& frames) const {
  std::vector<size_t> ids;
  rules_.patterns().match(text, ids);
  if (!logged.empty()) rules_.patterns().match(logged, ids);
  std::vector<size_t> framed;
  for (const std::string_view frame : frames) rules_.frame_patterns().match(frame, framed);
  const bool by_nccl = is_nccl_line(text);
  std::erase_if(ids, [&](size_t id) {
    const CauseRule& rule = rules_.rules()[id];
    return rule.last_words || (by_nccl && !rule.of_nccl) ||
           (!rule.frame.empty() && std::find(framed.begin(), framed.end(), id) == framed.end());
  });
  for (const size_t id : framed)
    if (rules_.rules()[id].match.empty()) ids.push_back(id);
  return ids;
}

/// What one line says is what the earliest rule reads in it: later ones read it with looser words.
/// False: it is of no rule, and no exception.
bool Hearing::hear(const std::vector<size_t>& ids, size_t index, bool raised) {
  const CauseRule* rule = nullptr;
  if (!ids.empty()) {
    const size_t id = *std::min_element(ids.begin(), ids.end());
    rule = &rules_.rules()[id];
    if (!raised && is_chatty(rule->kind) && is_information(lines_[index].text)) return false;
    matches_.push_back({.hint = is_hint(*rule),
                        .weak = rule->weak,
                        .victim = rule->victim,
                        .stopping = rule->stopping,
                        .rule = id,
                        .index = index,
                        .raised = raised});
  }
  // A launcher's exception about another process explains nothing.
  if (!raised || (rule != nullptr && is_hint(*rule))) return rule != nullptr;
  last_exception_ = index;
  const bool symptom = rule != nullptr && (rule->victim || rule->silent || rule->stopping);
  if (!symptom && !first_own_exception_) first_own_exception_ = index;
  return true;
}

/// A progress bar draws its last state once more when the program ends, behind the exception.
bool Hearing::drawn_again(std::string_view text) {
  const std::string_view count = bar_count(text);
  if (count.empty()) return false;
  const auto [bar, first] = bars_.emplace(count.substr(count.find('/') + 1), count);
  return first ? last_exception_.has_value() : std::exchange(bar->second, count) == count;
}

void Hearing::read() {
  Tracebacks tracebacks;
  for (size_t i = 0; i < lines_.size(); ++i) {
    const std::string_view text = lines_[i].text;
    const auto part = tracebacks.read(text);
    if (!accused_) accused_ = rank_accused_in(text);
    if (part == Tracebacks::Part::kQuoted || is_remark(text) || is_setting(text)) continue;
    if (part == Tracebacks::Part::kOutside && goes_on(text)) continue;
    if (is_progress(text) && !drawn_again(text)) {
      last_progress_ = i;
      first_own_exception_.reset();
    }
    const bool raised = part == Tracebacks::Part::kException;
    const std::string_view logged = raised ? std::string_view{} : logged_exception(text);
    const std::vector<std::string_view> none;
    const bool heard = hear(ids_of(matched_part(text), logged, raised ? tracebacks.frames() : none),
                            i, raised || !logged.empty());
    if (!heard && !is_boxed(text) && !is_launchers_report(text) && !is_native_frame(text))
      said_.push_back(i);
  }
  if (const auto raised = tracebacks.cut_off()) {
    hear(ids_of(*raised, {}, tracebacks.frames()), lines_.size() - 1, true);
    nameless_ = raised->empty();
  }
  hear_last_words();
}

/// Where nothing else tells of a failure, what the program said last is likely to be why it ended.
void Hearing::hear_last_words() {
  constexpr size_t kLast = 3;
  if (last_exception_) return;
  if (!std::all_of(matches_.begin(), matches_.end(), [](const Match& match) { return match.hint; }))
    return;
  for (size_t back = 0; back < std::min(kLast, said_.size()); ++back) {
    const size_t index = said_[said_.size() - 1 - back];
    const std::string_view text = lines_[index].text;
    if (const std::string_view name = relayed_exception(text); !name.empty()) {
      hear(ids_of(name, {}, {}), index, true);
      return;
    }
    std::vector<size_t> ids;
    rules_.patterns().match(text, ids);
    std::erase_if(ids, [&](size_t id) { return !rules_.rules()[id].last_words; });
    if (!last_progress_ && hear(ids, index, false)) return;
  }
}

/// Which matches count at all, and which of them less.
void Hearing::weigh() {
  const auto drop = [&](auto&& what) { std::erase_if(matches_, what); };
  for (Match& match : matches_)
    match.before_progress = last_progress_ && match.index < *last_progress_;
  drop([&](const Match& match) {
    return (last_progress_ && rule(match).before_training) || (match.weak && match.before_progress);
  });
  // A crash may be the exception's tear-down, and a launcher stops what it has seen fail. Of an
  // exception without its name nothing tells that it is not what the stopping raised.
  if (first_own_exception_ && !(nameless_ && first_own_exception_ == last_exception_))
    drop([&](const Match& match) { return match.stopping || rule(match).silent; });
  TearDowns torn_down;
  drop([&](const Match& match) {
    if (match.before_progress) return false;
    const LogLine& line = lines_[match.index];
    if (match.victim && rule(match).kind == CauseKind::kNetwork) torn_down.broke(line);
    return rule(match).kind == CauseKind::kDevice && torn_down.explain(line);
  });
  // What it stops behind its report of a failure, it stops because of that.
  const auto reported =
      std::find_if(matches_.begin(), matches_.end(), [](const Match& match) { return match.hint; });
  if (reported != matches_.end())
    drop([index = reported->index](const Match& match) {
      return match.stopping && match.victim && match.index > index;
    });
  // What a mere line says before an exception that is a cause itself was survived.
  const auto cause = std::find_if(matches_.rbegin(), matches_.rend(), [](const Match& match) {
    return match.raised && !match.hint && !match.weak && !match.victim && !match.stopping;
  });
  if (cause == matches_.rend()) return;
  for (Match& match : matches_)
    match.remark = !match.raised && match.index < cause->index && is_chatty(rule(match).kind);
}

/// The one rank of which launchers say that it failed.
std::optional<int> Hearing::blamed() const {
  std::optional<int> blamed;
  for (const Match& match : matches_) {
    if (!match.hint) continue;
    const auto rank = rank_named_in(lines_[match.index].text);
    if (!rank || (blamed && blamed != rank)) return std::nullopt;
    blamed = rank;
  }
  return blamed;
}

Finding Hearing::finding() const {
  Finding finding;
  finding.made_progress = last_progress_.has_value();
  finding.raised = first_own_exception_.has_value();
  finding.accused = accused_;
  const auto best =
      std::min_element(matches_.begin(), matches_.end(),
                       [](const Match& a, const Match& b) { return a.strength() < b.strength(); });
  const bool matched = best != matches_.end();
  // An exception that nothing knows, behind the progress that a match lies before, is the better
  // witness.
  const bool unknown_later = matched && ((best->before_progress && finding.raised) ||
                                         (best->hint && last_exception_.has_value()));
  // So is one of its own before all symptoms: what comes down behind it breaks its connections.
  const bool unknown_first = matched && best->victim && finding.raised &&
                             std::all_of(matches_.begin(), matches_.end(), [&](const auto& match) {
                               return match.before_progress || match.index > *first_own_exception_;
                             });
  std::optional<size_t> deciding;
  if (matched && !unknown_later && !unknown_first) {
    finding.apply(rule(*best));
    deciding = best->index;
    finding.exception = best->raised;
    for (const Match& match : matches_)
      if (!finding.rank && match.rule == best->rule && !match.before_progress)
        finding.rank = rank_named_in(lines_[match.index].text);
  } else if (last_exception_) {
    if (const CauseRule* rule = rule_of_exceptions(last_progress_.has_value(), rules_))
      finding.apply(*rule);
    deciding = unknown_first ? first_own_exception_ : last_exception_;
    finding.exception = true;
    finding.nameless = nameless_ && deciding == last_exception_;
    finding.rank = rank_named_in(lines_[*deciding].text);
  }
  if (!deciding) return finding;
  if (!finding.rank) finding.rank = rank_spawned(lines_, *deciding);
  if (!finding.rank) finding.rank = blamed();
  finding.source = Finding::Source::kStderr;
  finding.line = lines_[*deciding].number;
  finding.text = std::string(lines_[*deciding].text.substr(0, PatternSet::kMaxLine));
  finding.lines = lines_that_matter(lines_, *deciding);
  return finding;
}

}  // namespace

bool is_chatty(CauseKind kind) {
  return kind == CauseKind::kConfig || kind == CauseKind::kData || kind == CauseKind::kNetwork ||
         kind == CauseKind::kStore;
}

void Finding::apply(const CauseRule& by) {
  rule = &by;
  kind = by.kind;
  victim = by.victim;
  certain = by.certain && !by.victim;
}

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
  return Hearing(lines, rules).finding();
}

}  // namespace megalaunch
