#pragma once

#include <optional>
#include <string>
#include <vector>

#include "env/clock.h"
#include "env/platform.h"
#include "env/variables.h"
#include "launcher/job/job.h"
#include "launcher/job/launch_plan.h"
#include "launcher/megatron/command.h"

namespace CLI {
class App;
}

namespace megalaunch {

/// What `render`, `check` and `run` are asked for; add_job_flags() adds the file and --set.
struct JobFlags {
  std::string file;
  std::vector<std::string> sets;
  bool no_checks = false;
};
void add_job_flags(CLI::App& app, JobFlags& flags);

/// A job file taken as far as it goes without touching anything: settings, place in the gang,
/// Megatron command. Either there are errors, or all of it is there (`megatron` for a `megatron:`
/// job only).
struct PlannedJob {
  std::optional<Job> job;
  std::optional<LaunchPlan> plan;
  std::optional<MegatronCommand> megatron;
  std::vector<JobError> errors;
};

/// Finds all errors of the file and the environment at once.
PlannedJob plan_job(const JobFlags& flags, const Variables& environment, const HostFacts& host,
                    WallTime now);

/// "2024-11-07T16:27:21" in UTC.
std::optional<WallTime> parse_time(const std::string& text);

}  // namespace megalaunch
