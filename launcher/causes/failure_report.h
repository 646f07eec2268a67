#pragma once

#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>

#include "env/clock.h"
#include "launcher/causes/evidence.h"
#include "launcher/causes/restart_policy.h"
#include "launcher/causes/verdict.h"

namespace megalaunch {

/// What a report says beyond verdict and evidence.
struct ReportFacts {
  std::string job;
  std::string run_id;
  int generation = 0;
  int nodes = 0;
  int ranks = 0;
  WallTime ended;       ///< when the generation had ended, on node 0's clock
  std::string log_dir;  ///< of the attempt; may be empty
};

/// The report for a person: what failed first, where, why, the lines that matter, what it dragged
/// along, what was decided and why, advice. Plain text, ends with a newline. The same on every
/// node.
std::string report_text(const ReportFacts& facts, std::span<const Evidence> evidence,
                        const Verdict& verdict, const RestartDecision& decision);

/// The same as one JSON object (report.json): {job, run_id, generation, time, kind, rule, certain,
/// retry, advice, reason, exit_code or retry_after_ms, first: {node_rank, host, rank, local_rank,
/// pid, end, time, clock_offset_ms, clock_uncertainty_ms, text, lines}, victims: [{...}], alike:
/// [{...}], stopped}.
nlohmann::json report_json(const ReportFacts& facts, std::span<const Evidence> evidence,
                           const Verdict& verdict, const RestartDecision& decision);

}  // namespace megalaunch
