#include "launcher/cli/planned_job.h"

#include <CLI/App.hpp>
#include <ctime>

#include "launcher/causes/cause_rules.h"

namespace megalaunch {

void add_job_flags(CLI::App& app, JobFlags& flags) {
  app.add_option("job", flags.file, "The job file (YAML)")->required()->type_name("JOB.yaml");
  // One value per flag, taken as it is: CLI11 would read "[a, b]" as a list of its own.
  app.add_option("--set", flags.sets,
                 "Replace a value of the job file: --set batch.global=512. May be given again")
      ->type_name("KEY=VALUE")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->allow_extra_args(false);
}

PlannedJob plan_job(const JobFlags& flags, const Variables& environment, const HostFacts& host,
                    WallTime now) {
  PlannedJob planned;
  LoadedJob loaded = load_job(flags.file, environment, flags.sets);
  planned.errors = std::move(loaded.errors);
  if (!loaded.job) return planned;
  planned.job = std::move(loaded.job);
  const Job& job = *planned.job;

  for (const auto& [kind, count] : job.restart.per_kind)
    if (!parse_cause_kind(kind))
      planned.errors.push_back({job.file.string(), 0, 0, "restart.per_kind." + kind,
                                "no such kind of cause; docs/causes.md lists them"});

  PlannedLaunch launch = plan_launch(job, environment, host);
  planned.errors.insert(planned.errors.end(), launch.errors.begin(), launch.errors.end());
  planned.plan = std::move(launch.plan);
  if (!job.megatron) return planned;

  // Without a plan the settings are still looked through, so that a person sees all errors in one
  // go.
  LaunchPlan stand_in;
  stand_in.output = job.workdir;
  const LaunchPlan& plan = planned.plan ? *planned.plan : stand_in;
  PlannedMegatron megatron = plan_megatron(job, plan, environment, now);
  planned.errors.insert(planned.errors.end(), megatron.errors.begin(), megatron.errors.end());
  if (planned.errors.empty()) planned.megatron = std::move(megatron.command);
  return planned;
}

std::optional<WallTime> parse_time(const std::string& text) {
  std::tm fields{};
  const char* end = ::strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &fields);
  if (end == nullptr || (*end != '\0' && std::string_view(end) != "Z")) return std::nullopt;
  return std::chrono::system_clock::from_time_t(::timegm(&fields));
}

}  // namespace megalaunch
