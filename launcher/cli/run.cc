#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <memory>

#include "env/exit_code.h"
#include "launcher/cli/command.h"
#include "launcher/cli/job_node.h"
#include "launcher/cli/planned_job.h"
#include "launcher/megatron/path_checks.h"

namespace megalaunch {
namespace {

struct RunFlags {
  JobFlags job;
  bool verbose = false;
};

constexpr const char* kHelp =
    R"(Give the same command on every node; node 0 (RANK=0) hosts the
meeting point at MASTER_ADDR:MASTER_PORT, the others find it there. The exit status is the
same on every node: 0 success, 1-127 the failed rank's own, 2 wrong job file or environment,
3 refused by checks, 130/143 stopped by a signal, 144 restarts used up, 145 nodes missing.)";

constexpr const char* kExamples =
    R"(Examples:
  megalaunch run job.yaml
  megalaunch run job.yaml --set launch.ranks_per_node=4 --set restart.max=0
  WORLD_SIZE=4 RANK=2 TQ_GPU_NUM=8 MASTER_ADDR=node-0 MASTER_PORT=29500 megalaunch run job.yaml

Logs of every rank: <log dir>/<run id>/attempt_<generation>/<node>/<local rank>/{stdout,stderr}.log)";

/// Says what the checks found; true when they refuse the job.
bool refused_by_checks(const PlannedJob& planned, const Log& log) {
  std::vector<Check> checks = planned.megatron->checks;
  for (Check& check : check_paths(*planned.job, *planned.megatron))
    checks.push_back(std::move(check));
  for (const Check& check : checks)
    log.write(check.level == Check::Level::kError ? Log::Level::kError : Log::Level::kWarning,
              fmt::format("{} [{}]", check.message, check.code));
  return has_errors(checks);
}

int run(const RunFlags& flags, const Variables& environment, const Log& log) {
  hold_back_stop_signals();
  HostFacts host;
  host.gpus = count_gpus();
  const PlannedJob planned = plan_job(flags.job, environment, host, SystemClock().wall());
  if (!planned.errors.empty()) {
    for (const JobError& error : planned.errors) log.error("{}", error.to_string());
    return kExitUsage;
  }
  if (planned.megatron && refused_by_checks(planned, log) && !flags.job.no_checks) {
    log.error("the checks refuse the job; nothing was started. --no-checks runs it all the same.");
    return kExitRefused;
  }
  auto node = node_for_job(planned, environment, log);
  if (!node) return exit_with(node.error(), log);
  if (flags.verbose) node->log_level = Log::Level::kDebug;
  const auto exit_code = run_node(std::move(*node));
  if (!exit_code) return exit_with(exit_code.error(), log);
  return *exit_code;
}

}  // namespace

void add_run_command(CLI::App& app, CommandContext& context) {
  const auto flags = std::make_shared<RunFlags>();
  CLI::App* command =
      app.add_subcommand("run", "Run a job on this node; the same command on every node")
          ->footer(std::string(kHelp) + "\n\n" + kExamples);
  add_job_flags(*command, flags->job);
  command->add_flag("-v,--verbose", flags->verbose, "Say more about what the launcher does");
  command->callback(
      [flags, &context] { context.exit_code = run(*flags, context.environment, context.log); });
}

}  // namespace megalaunch
