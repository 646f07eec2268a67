#include "launcher/torchrun/node.h"

#include "env/host.h"
#include "env/numa.h"
#include "env/platform.h"
#include "launcher/ranks/program.h"
#include "launcher/torchrun/failure_text.h"
#include "launcher/torchrun/own_error_file.h"
#include "launcher/torchrun/python.h"
#include "launcher/torchrun/rank_setup.h"
#include "launcher/torchrun/run_folder.h"
#include "rendezvous/gang/proof.h"

namespace megalaunch {
namespace {

namespace fs = std::filesystem;

constexpr seconds kJoinTimeout{600};        // of the c10d back end
constexpr seconds kStaticJoinTimeout{900};  // of the static one
constexpr seconds kLastCall{30};

/// By local rank, with --numa-binding: rank i uses the device that CUDA calls i.
Result<std::vector<std::vector<int>>> cpus_of_ranks(const TorchrunOptions& options,
                                                    const Variables& environment, int ranks) {
  std::vector<std::vector<int>> all;
  const auto binding = parse_numa_binding(options.numa_binding);
  if (!binding) return all;
  const NumaTopology topology = read_numa_topology("/", usable_cpus());
  for (int rank = 0; rank < ranks; ++rank) {
    const auto gpu = gpu_of_device(topology, environment.get("CUDA_VISIBLE_DEVICES"), rank);
    auto cpus = gpu ? cpus_near_gpu(*binding, topology, *gpu) : fail(gpu.error());
    if (!cpus) return fail(std::move(cpus).error().within("--numa-binding"));
    all.push_back(std::move(*cpus));
  }
  return all;
}

/// Random, in the form of a version 4 UUID.
std::string fresh_uuid() {
  std::string hex = fresh_nonce();
  hex.resize(32, '0');
  hex[12] = '4';
  hex[16] = "89ab"[hex[16] % 4];
  return fmt::format("{}-{}-{}-{}-{}", hex.substr(0, 8), hex.substr(8, 4), hex.substr(12, 4),
                     hex.substr(16, 4), hex.substr(20));
}

/// What the ranks run, as argv with `${local_rank}` still in it.
Result<std::vector<std::string>> command_of(const TorchrunOptions& options,
                                            const TorchrunPlace& place) {
  using Run = TorchrunOptions::Run;
  std::vector<std::string> argv;
  if (options.run != Run::kProgram) {
    auto python = find_python(place.called_as, place.environment, place.cwd);
    if (!python) return fail(std::move(python).error());
    argv = {python->string(), "-u"};
    if (options.run == Run::kModule) argv.push_back("-m");
    if (options.run == Run::kPath) {
      argv.push_back("-c");
      argv.push_back(
          "import sys\n"
          "from torch.distributed.elastic.multiprocessing.errors import record\n"
          "from torch.distributed.run import run_script_path\n"
          "record(run_script_path)(*sys.argv[1:])\n");
    }
  }
  argv.push_back(options.script);
  argv.insert(argv.end(), options.script_args.begin(), options.script_args.end());
  return argv;
}

/// Whether this node hosts; nothing when that depends on whether the endpoint is this machine's.
std::optional<bool> hosts(const TorchrunOptions& options) {
  if (options.alone) return true;
  if (options.is_static) return options.node_rank == 0;
  return options.conf.is_host;
}

Leader::Options leader_of(const TorchrunOptions& options, const Agent::Options& agent,
                          const std::string& run_id, const fs::path& folder,
                          const std::string& binary) {
  Leader::Options leader;
  // Alone nobody else has to come in, unless the ranks were told an address of this machine.
  if (options.alone && options.local_addr.empty()) leader.bind_address = "127.0.0.1";
  leader.port = agent.leader_port;
  leader.version = agent.version;
  leader.job = agent.job;
  leader.key = agent.key;
  leader.run_id = run_id;
  leader.log_dir = folder;
  leader.heartbeat_timeout = agent.heartbeat_timeout;
  Coordinator::Settings& settings = leader.coordinator;
  settings.nodes = options.max_nodes;
  if (options.min_nodes < options.max_nodes) settings.min_nodes = options.min_nodes;
  settings.last_call = options.conf.last_call_timeout.value_or(kLastCall);
  settings.join_timeout = agent.join_timeout;
  settings.grace = agent.grace;
  settings.restarts.any_cause = true;
  settings.restarts.max = options.max_restarts;
  settings.last_words = [title = options.script, binary](const ReportFacts&,
                                                         const std::vector<Evidence>& evidence,
                                                         const Verdict& verdict) {
    return torchrun_failure_text(title, binary, evidence, verdict);
  };
  return leader;
}

/// LOGLEVEL says how much the agent tells; torchrun's default is warnings.
Log::Level log_level(const Variables& environment) {
  const std::string word = environment.get("LOGLEVEL").value_or("WARNING");
  if (word == "DEBUG" || word == "NOTSET") return Log::Level::kDebug;
  if (word == "INFO") return Log::Level::kInfo;
  if (word == "ERROR" || word == "CRITICAL") return Log::Level::kError;
  return Log::Level::kWarning;
}

void say_notes(const TorchrunOptions& options, const TorchrunPlace& place, int ranks,
               const Log& log) {
  for (const std::string& note : options.notes) log.warn("{}", note);
  if (ranks > 1 && !place.environment.get("OMP_NUM_THREADS"))
    log.warn(
        "Setting OMP_NUM_THREADS environment variable for each process to be 1 in default, to "
        "avoid your system being overloaded; set it yourself to the CPUs that a rank may use");
}

}  // namespace

Result<TorchrunNode> node_for_torchrun(const TorchrunOptions& options, const TorchrunPlace& place,
                                       const std::string& version, const Log& log) {
  const int gpus =
      visible_gpus(place.environment.get("CUDA_VISIBLE_DEVICES"), count_gpus().value_or(0));
  const auto ranks =
      ranks_on_node(options.ranks_per_node, gpus, static_cast<int>(usable_cpus().size()));
  if (!ranks) return fail(ranks.error());
  auto argv = command_of(options, place);
  if (!argv) return fail(std::move(argv).error());
  auto program = find_program(argv->front(),
                              place.environment.get("PATH").value_or("/usr/bin:/bin"), place.cwd);
  if (!program) return fail(std::move(program).error());

  const std::string run_id = options.alone ? fresh_uuid() : options.id;
  TorchrunNode node;
  std::optional<RunFolder> folder;
  fs::path own_folder;
  if (options.to_dev_null()) {
    auto scratch = make_temporary_folder(place.environment);
    if (!scratch) return fail(std::move(scratch).error());
    node.scratch = own_folder = *scratch;
  } else {
    auto made = RunFolder::make(options.log_dir, run_id, place.cwd, place.environment);
    if (!made) return fail(std::move(made).error());
    folder = *made;
    own_folder = made->path();
  }

  Agent::Options& agent = node.options.agent;
  agent.version = version;
  agent.job = "torchrun " + run_id;
  agent.key = place.environment.get("MEGALAUNCH_JOB_KEY").value_or("");
  agent.leader_host = options.endpoint.host;
  agent.leader_port = static_cast<uint16_t>(options.endpoint.port);
  agent.master_addr = !options.alone               ? options.endpoint.host
                      : options.local_addr.empty() ? "127.0.0.1"
                                                   : options.local_addr;
  agent.node_rank = options.node_rank;
  agent.join_timeout = options.is_static ? options.conf.timeout.value_or(kStaticJoinTimeout)
                                         : options.conf.join_timeout.value_or(kJoinTimeout);
  if (options.conf.heartbeat_timeout) agent.heartbeat_timeout = *options.conf.heartbeat_timeout;
  agent.ranks = *ranks;
  agent.program = *program;
  agent.argv = *argv;
  agent.cwd = place.cwd;
  agent.environment = place.environment;
  agent.environment.unset("MEGALAUNCH_JOB_KEY");  // ranks have no use for the secret
  agent.grace = options.shutdown_timeout;
  agent.forward_signals = true;
  auto cpus = cpus_of_ranks(options, place.environment, *ranks);
  if (!cpus) return fail(std::move(cpus).error());
  agent.hooks = rank_hooks(options, folder, std::move(*cpus));
  if (const auto target = place.environment.get_nonempty("TORCHELASTIC_ERROR_FILE"))
    agent.hooks.ended = [log, file = *target](int exit_code,
                                              const std::vector<Evidence>& evidence) {
      if (exit_code == 0) return;
      if (auto status = pass_on_error_file(evidence, file); !status)
        log.warn("{}", status.error().message);
    };

  const auto leads = hosts(options);
  if (leads.value_or(true)) {
    node.options.leader = leader_of(options, agent, run_id, own_folder, program->string());
    if (!leads) {
      NodeOptions::Undecided& undecided = node.options.undecided.emplace();
      if (options.local_addr != options.endpoint.host)
        undecided.endpoint_host = options.endpoint.host;
      undecided.join_if_port_taken = true;
      undecided.node_rank = options.node_rank;
    }
    if (!agent.node_rank) agent.node_rank = 0;
    node.options.leader->coordinator.host_rank = agent.node_rank;
  }
  node.options.signals = options.signals;
  node.options.log_level = log_level(place.environment);
  say_notes(options, place, *ranks, log);
  return node;
}

}  // namespace megalaunch
