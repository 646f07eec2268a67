// Any text as a log of one or many ranks, as an error file, as a table of causes, and as evidence
// from another node: no crash, no endless loop, and an answer that keeps its promises.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string_view>

#include "launcher/causes/evidence.h"
#include "launcher/causes/finished_logs.h"
#include "launcher/causes/verdict.h"

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

/// The pieces between the pattern's wildcards, one behind the other, whatever lies between them.
bool holds_in_order(std::string_view pattern, std::string_view line) {
  if (pattern.starts_with('^')) pattern.remove_prefix(1);
  if (pattern.ends_with('$')) pattern.remove_suffix(1);
  while (!pattern.empty()) {
    const std::string_view piece = pattern.substr(0, pattern.find('*'));
    const size_t at = line.find(piece);
    if (at == line.npos) return false;
    line.remove_prefix(at + piece.size());
    pattern.remove_prefix(std::min(piece.size() + 1, pattern.size()));
  }
  return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace megalaunch;
  static const CauseRules rules = CauseRules::built_in();
  const std::string_view text(reinterpret_cast<const char*>(data), size);

  for (const LoggedRank& rank : read_log_text(text, "log", WallTime{}, rules)) {
    require(rank.finding.lines.size() <= 201);
    require(rank.finding.rule == nullptr || rank.finding.kind == rank.finding.rule->kind);
  }
  Evidence evidence;
  evidence.end = Exited{1};
  evidence.stderr_tail = std::string(bounded_tail(text));
  if (auto file = parse_error_file(text)) evidence.error_file = *std::move(file);
  const Verdict verdict = decide({&evidence, 1}, rules);
  require(verdict.first == 0U && verdict.victims.empty());
  require(evidence_from_json(to_json(evidence)).has_value());

  if (size < 4096) (void)CauseRules::parse(text, "fuzz");
  // The first line as a pattern for the rest: what matches holds all its pieces in order, and in a
  // line that no wildcard could miss, all its pieces in order are enough.
  const std::string_view pattern = text.substr(0, text.find('\n'));
  const std::string_view line = text.substr(std::min(pattern.size() + 1, text.size()));
  PatternSet set;
  if (pattern.size() < 256 && line.size() <= PatternSet::kMaxLine && set.add(pattern, false, 7)) {
    set.compile();
    std::vector<size_t> ids;
    set.match(line, ids);
    require(ids.empty() || holds_in_order(pattern, line));
    if (line.size() <= PatternSet::kMaxSpan && !pattern.starts_with('^') && !pattern.ends_with('$'))
      require(!ids.empty() || !holds_in_order(pattern, line));
  }
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_discarded()) (void)evidence_from_json(json);
  return 0;
}
