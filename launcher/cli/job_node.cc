#include "launcher/cli/job_node.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <fmt/ranges.h>

#include "env/host.h"
#include "launcher/cli/rules_file.h"
#include "launcher/megatron/resume.h"
#include "launcher/ranks/program.h"
#include "launcher/results/printed_arguments.h"

namespace megalaunch {
namespace {

/// The secret of the gang: MEGALAUNCH_JOB_KEY, or what the job's key file holds.
Result<std::string> job_key(const Job& job, const Variables& environment) {
  if (const auto key = environment.get_nonempty("MEGALAUNCH_JOB_KEY")) return *key;
  if (!job.launch.key_file) return std::string();
  const auto path = job.workdir / *job.launch.key_file;
  std::ifstream file(path, std::ios::binary);
  if (!file)
    return fail(Error::Kind::kUsage, "cannot read the job key {} (`launch: {{key_file: ...}}`): {}",
                path.string(), errno_text(errno));
  std::string key((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  while (!key.empty() && (key.back() == '\n' || key.back() == '\r')) key.pop_back();
  if (key.empty()) return fail(Error::Kind::kUsage, "the job key file {} is empty", path.string());
  return key;
}

std::function<bool(int rank, int world_size)> among(const std::vector<int>& ranks) {
  return [ranks](int rank, int world_size) {
    return std::any_of(ranks.begin(), ranks.end(), [&](int wanted) {
      return rank == (wanted < 0 ? world_size + wanted : wanted);
    });
  };
}

/// Which streams the console shows, from `logs: {console: ...}`.
std::function<bool(int, int, Console::Stream)> console_choice(const Job::Logs& logs) {
  return [logs](int rank, int world_size, Console::Stream stream) {
    switch (logs.console) {
      case Job::Logs::Console::kErrors:
        return stream == Console::Stream::kErr;
      case Job::Logs::Console::kNone:
        return false;
      case Job::Logs::Console::kRanks:
        return among(logs.ranks)(rank, world_size);
      default:
        return true;
    }
  };
}

/// The command of a `megatron:` job as of the run's start, which is in its names, and of the
/// checkpoints there are now.
Result<MegatronCommand> megatron_command(const PlannedJob& planned, const Variables& environment,
                                         const Welcome& welcome,
                                         const std::optional<ResumeFrom>& resume) {
  const WallTime started = parse_time(welcome.start_time).value_or(WallTime());
  auto again = plan_megatron(*planned.job, *planned.plan, environment, started, resume);
  if (!again.command) return fail(Error::Kind::kUsage, "{}", again.errors.front().to_string());
  return std::move(*again.command);
}

RankCommand rank_command(MegatronCommand command) {
  return {command.argv(), std::move(command.env), std::move(command.cwd)};
}

std::function<Result<RankCommand>(const Welcome&, int)> command_maker(const PlannedJob& planned,
                                                                      const Variables& environment,
                                                                      const Log& log) {
  return [planned, environment, log](const Welcome& welcome, int) -> Result<RankCommand> {
    const StartPoint start = find_start_point(planned.megatron->training);
    log.info("{}", start.explanation);
    auto command = megatron_command(planned, environment, welcome, start.resume);
    if (!command) return fail(std::move(command).error());
    return rank_command(std::move(*command));
  };
}

std::function<Result<Preparer::Work>(const Welcome&, bool)> preparation_of(
    const PlannedJob& planned, const Variables& environment) {
  return [planned, environment](const Welcome& welcome, bool first) -> Result<Preparer::Work> {
    Preparer::Work work;
    const std::filesystem::path log_dir = welcome.log_dir;
    // The job's own steps are done once, whatever runs follow; those of a node once for a run on
    // every machine that it has.
    work.folder = first ? log_dir / "prepared"
                        : node_steps_folder(log_dir / welcome.run_id, welcome.node_rank,
                                            host_name(), boot_id());
    work.cwd = planned.job->workdir;
    work.environment = environment;
    for (const PrepareStep& step : planned.job->prepare)
      if ((step.on == PrepareStep::On::kFirst) == first) work.steps.push_back(step);
    if (!first || !planned.megatron) return work;
    auto command = megatron_command(planned, environment, welcome, std::nullopt);
    if (!command) return fail(std::move(command).error());
    work.directories = std::move(command->directories);
    work.copies = std::move(command->copies);
    return work;
  };
}

void describe_training(RunRecord& record, const Training& training) {
  using Precision = MegatronSettings::Precision;
  const ModelPreset& model = training.model;
  record.model = model.name;
  record.size = {model.layers, model.hidden,       model.ffn,
                 model.heads,  model.query_groups, model.vocabulary};
  record.precision = training.precision == Precision::kFp8    ? "fp8"
                     : training.precision == Precision::kBf16 ? "bf16"
                                                              : "fp16";
  record.tp = static_cast<int>(training.tp.value);
  record.pp = static_cast<int>(training.pp.value);
  record.cp = static_cast<int>(training.cp.value);
  record.mbs = training.micro.value;
  record.gbs = training.global.value;
  record.seq = training.sequence_length.value;
  record.activations = activations_word(training.activations_word);
  int64_t layers = 0;
  const std::string& text = training.virtual_layers;
  if (std::from_chars(text.data(), text.data() + text.size(), layers).ec == std::errc())
    record.virtual_stage_layers = layers;
}

RunRecord record_of(const PlannedJob& planned) {
  RunRecord record;
  record.name = planned.job->name;
  record.nodes = planned.plan->nodes;
  record.gpus = planned.plan->nodes * planned.plan->ranks_per_node;
  if (planned.megatron) {
    describe_training(record, planned.megatron->training);
  } else {
    PrintedArguments arguments;  // a training program's own say as much, where they are Megatron's
    arguments.feed(fmt::format("{}", fmt::join(planned.job->command, " ")));
    record.complete_from(arguments.record());
  }
  return record;
}

Leader::Options leader_for(const PlannedJob& planned, const Agent::Options& agent,
                           const Variables& environment, const Log& log) {
  const Job& job = *planned.job;
  Leader::Options leader;
  leader.port = agent.leader_port;
  leader.version = agent.version;
  leader.job = agent.job;
  leader.key = agent.key;
  leader.heartbeat_timeout = agent.heartbeat_timeout;
  leader.run_name = job.name;
  leader.log_dir = planned.plan->log_dir;
  leader.record = record_of(planned);
  if (planned.megatron) leader.make_command = command_maker(planned, environment, log);
  leader.coordinator.nodes = planned.plan->nodes;
  leader.coordinator.host_rank = 0;
  leader.coordinator.join_timeout = job.launch.join_timeout;
  leader.coordinator.grace = job.restart.grace;
  leader.coordinator.prepare = planned.megatron.has_value() || !job.prepare.empty();
  leader.coordinator.restarts.max = job.restart.max;
  leader.coordinator.restarts.backoff = job.restart.backoff;
  for (const auto& [name, count] : job.restart.per_kind)
    if (const auto kind = parse_cause_kind(name))
      leader.coordinator.restarts.per_kind[*kind] = count;
  return leader;
}

}  // namespace

Result<NodeOptions> node_for_job(const PlannedJob& planned, const Variables& environment,
                                 const Log& log) {
  const Job& job = *planned.job;
  const LaunchPlan& plan = *planned.plan;
  Variables inherited = environment;
  for (const auto& [name, value] : job.env) inherited.set(name, value);
  inherited.unset("MEGALAUNCH_JOB_KEY");  // ranks have no use for the secret

  auto key = job_key(job, environment);
  if (!key) return fail(std::move(key).error());
  if (key->empty() && plan.nodes > 1)
    log.warn(
        "the gang is open: whoever reaches port {} can join it. Give all nodes the same "
        "MEGALAUNCH_JOB_KEY.",
        plan.endpoint.port);

  NodeOptions node;
  Agent::Options& agent = node.agent;
  agent.version = MEGALAUNCH_VERSION;
  agent.job = environment.get_nonempty("MEGALAUNCH_JOB_ID").value_or(job.name);
  agent.key = *key;
  agent.leader_host = plan.endpoint.host;
  agent.leader_port = static_cast<uint16_t>(plan.endpoint.port);
  agent.master_addr = plan.endpoint.host;
  agent.node_rank = plan.node_rank;
  agent.join_timeout = job.launch.join_timeout;
  agent.heartbeat_timeout = job.launch.heartbeat_timeout;
  agent.ranks = plan.ranks_per_node;
  agent.environment = std::move(inherited);
  agent.grace = job.restart.grace;
  agent.pause_limit = job.restart.stopped;
  agent.on_console = console_choice(job.logs);
  agent.collapse_lines = job.logs.console == Job::Logs::Console::kCollapsed;
  if (!job.logs.node_0_shows.empty()) agent.node_0_shows = among(job.logs.node_0_shows);
  agent.log_cap = {job.logs.max_size, job.logs.keep};
  if (!planned.megatron) {
    if (!std::filesystem::is_directory(plan.cwd))
      return fail(Error::Kind::kUsage, "the working directory {} does not exist; check `workdir:`",
                  plan.cwd.string());
    auto program = find_program(job.command.front(),
                                agent.environment.get("PATH").value_or("/usr/bin:/bin"), plan.cwd);
    if (!program) return fail(std::move(program).error());
    agent.program = std::move(*program);
    agent.argv = job.command;
    agent.cwd = plan.cwd;
  }
  node.monitor.emplace();
  if (planned.megatron)
    node.monitor->sequence_length = planned.megatron->training.sequence_length.value;
  if (planned.megatron || !job.prepare.empty())
    node.preparation = preparation_of(planned, agent.environment);

  // Without a number of their own, the node with the endpoint's address is the first.
  const bool is_numbered = plan.nodes == 1 || plan.node_rank.has_value();
  if (plan.nodes == 1 || plan.node_rank.value_or(0) == 0) {
    if (job.restart.causes) {
      auto rules = rules_with_file(job.workdir / *job.restart.causes);
      if (!rules) return fail(std::move(rules).error().within("`restart: {causes: ...}`"));
      node.rules = std::move(*rules);
    }
    if (!is_numbered) node.undecided = NodeOptions::Undecided{plan.endpoint.host, false, {}};
    agent.node_rank = 0;
    node.leader = leader_for(planned, agent, environment, log);
  }
  return node;
}

}  // namespace megalaunch
