#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "env/host.h"
#include "launcher/cli/command.h"
#include "launcher/cli/exit_code.h"
#include "launcher/gang/node.h"
#include "launcher/job/job.h"
#include "launcher/job/launch_plan.h"
#include "launcher/ranks/program.h"

namespace megalaunch {
namespace {

struct RunFlags {
  std::string job_file;
  std::vector<std::string> sets;
  bool verbose = false;
};

constexpr const char* kHelp = R"(Run a job on this node. Give the same command on every node; node 0 (RANK=0) hosts the
meeting point at MASTER_ADDR:MASTER_PORT, the others find it there. The exit status is the
same on every node: 0 success, 1-127 the failed rank's own, 2 wrong job file or environment,
3 refused by checks, 130/143 stopped by a signal, 144 restarts used up, 145 nodes missing.)";

constexpr const char* kExamples = R"(Examples:
  megalaunch run job.yaml
  megalaunch run job.yaml --set launch.ranks_per_node=4 --set restart.max=0
  WORLD_SIZE=4 RANK=2 TQ_GPU_NUM=8 MASTER_ADDR=node-0 MASTER_PORT=29500 megalaunch run job.yaml

Logs of every rank: <log dir>/<run id>/attempt_<generation>/<node>/<local rank>/{stdout,stderr}.log)";

int report(const std::vector<JobError>& errors, const Log& log) {
  for (const JobError& error : errors) log.error("{}", error.to_string());
  return kExitUsage;
}

/// The secret of the gang: MEGALAUNCH_JOB_KEY, or what the job's key file holds.
Result<std::string> job_key(const Job& job, const Variables& environment) {
  if (const auto key = environment.get_nonempty("MEGALAUNCH_JOB_KEY")) return *key;
  if (!job.launch.key_file) return std::string();
  const auto path = job.workdir / *job.launch.key_file;
  std::ifstream file(path, std::ios::binary);
  if (!file)
    return fail(Error::Kind::kUsage, "cannot read the job key {} (`launch: {{key_file: ...}}`): {}", path.string(), errno_text(errno));
  std::string key((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  while (!key.empty() && (key.back() == '\n' || key.back() == '\r')) key.pop_back();
  if (key.empty()) return fail(Error::Kind::kUsage, "the job key file {} is empty", path.string());
  return key;
}

/// Which streams the console shows, from `logs: {console: ...}`.
std::function<bool(int, int, Console::Stream)> console_choice(const Job::Logs& logs) {
  return [logs](int rank, int world_size, Console::Stream stream) {
    switch (logs.console) {
      case Job::Logs::Console::kErrors: return stream == Console::Stream::kErr;
      case Job::Logs::Console::kNone: return false;
      case Job::Logs::Console::kRanks:
        return std::any_of(logs.ranks.begin(), logs.ranks.end(), [&](int wanted) {
          return rank == (wanted < 0 ? world_size + wanted : wanted);
        });
      default: return true;
    }
  };
}

Result<NodeOptions> node_options(const Job& job, const LaunchPlan& plan, const Variables& environment, const Log& log) {
  NodeOptions node;
  Variables inherited = environment;
  for (const auto& [name, value] : job.env) inherited.set(name, value);
  inherited.unset("MEGALAUNCH_JOB_KEY");  // ranks have no use for the secret

  auto program = find_program(job.command.front(), inherited.get("PATH").value_or("/usr/bin:/bin"), plan.cwd);
  if (!program) return fail(std::move(program).error());
  if (!std::filesystem::is_directory(plan.cwd))
    return fail(Error::Kind::kUsage, "the working directory {} does not exist; check `workdir:`", plan.cwd.string());
  auto key = job_key(job, environment);
  if (!key) return fail(std::move(key).error());
  if (key->empty() && plan.nodes > 1)
    log.warn("the gang is open: whoever reaches port {} can join it. Give all nodes the same MEGALAUNCH_JOB_KEY.",
             plan.endpoint.port);

  Agent::Options& agent = node.agent;
  agent.version = MEGALAUNCH_VERSION;
  agent.job = environment.get_nonempty("MEGALAUNCH_JOB_ID").value_or(job.name);
  agent.key = *key;
  agent.leader_host = plan.endpoint.host;
  agent.leader_port = static_cast<uint16_t>(plan.endpoint.port);
  agent.master_addr = plan.endpoint.host;
  agent.node_rank = plan.node_rank;
  agent.join_timeout = job.launch.join_timeout;
  agent.ranks = plan.ranks_per_node;
  agent.program = *program;
  agent.argv = job.command;
  agent.cwd = plan.cwd;
  agent.environment = std::move(inherited);
  agent.grace = job.restart.grace;
  agent.on_console = console_choice(job.logs);

  const bool leads = plan.nodes == 1 || (plan.node_rank ? *plan.node_rank == 0 : is_this_machine(plan.endpoint.host));
  if (!leads) return node;
  agent.node_rank = 0;
  Leader::Options& leader = node.leader.emplace();
  leader.port = static_cast<uint16_t>(plan.endpoint.port);
  leader.version = agent.version;
  leader.job = agent.job;
  leader.key = agent.key;
  leader.run_name = job.name;
  leader.log_dir = plan.log_dir;
  leader.coordinator.nodes = plan.nodes;
  leader.coordinator.join_timeout = job.launch.join_timeout;
  leader.coordinator.grace = job.restart.grace;
  leader.coordinator.restarts.max = job.restart.max;
  leader.coordinator.restarts.backoff = job.restart.backoff;
  for (const auto& [name, count] : job.restart.per_kind)
    if (const auto kind = parse_cause_kind(name)) leader.coordinator.restarts.per_kind[*kind] = count;
  return node;
}

int run(const RunFlags& flags, const Variables& environment, const Log& log) {
  const LoadedJob loaded = load_job(flags.job_file, environment, flags.sets);
  if (!loaded.job) return report(loaded.errors, log);
  HostFacts host;
  host.gpus = count_gpus();
  const PlannedLaunch planned = plan_launch(*loaded.job, environment, host);
  if (!planned.plan) return report(planned.errors, log);
  auto node = node_options(*loaded.job, *planned.plan, environment, log);
  if (!node) return exit_with(node.error(), log);
  if (flags.verbose) node->log_level = Log::Level::kDebug;
  const auto exit_code = run_node(std::move(*node));
  if (!exit_code) return exit_with(exit_code.error(), log);
  return *exit_code;
}

}  // namespace

void add_run_command(CLI::App& app, CommandContext& context) {
  const auto flags = std::make_shared<RunFlags>();
  CLI::App* command = app.add_subcommand("run", kHelp)->footer(kExamples);
  command->add_option("JOB", flags->job_file, "The job file (YAML); see configs/examples and `megalaunch init`")->required();
  command->add_option("--set", flags->sets, "Override a key of the job file: --set restart.max=0")->take_all()->allow_extra_args(false);
  command->add_flag("-v,--verbose", flags->verbose, "Say more about what the launcher does");
  command->callback([flags, &context] { context.exit_code = run(*flags, context.environment, context.log); });
}

}  // namespace megalaunch
