// Any text as a log of one or many ranks, as an error file, as a table of causes, and as evidence
// from another node: no crash, no endless loop, and an answer that keeps its promises.
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string_view>

#include "launcher/gang/evidence.h"
#include "launcher/gang/finished_logs.h"
#include "launcher/gang/verdict.h"

namespace {

void require(bool holds) {
  if (!holds) std::abort();
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
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_discarded()) (void)evidence_from_json(json);
  return 0;
}
