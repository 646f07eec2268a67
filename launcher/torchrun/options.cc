#include "launcher/torchrun/options.h"

#include <algorithm>

#include "launcher/causes/evidence.h"
#include "launcher/torchrun/completion.h"
#include "launcher/torchrun/option_table.h"

namespace megalaunch {
namespace {

constexpr int kDefaultPort = 29400;  // of the c10d back end
constexpr int kDefaultMasterPort = 29500;
constexpr int kMostNodes = 1'000'000;

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const size_t end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == text.npos) return parts;
    text.remove_prefix(end + 1);
  }
}

/// "a,b" but "x,,y" is one word with a comma. Nothing for an empty text, which filters nothing.
std::vector<std::string> words(std::string_view text) {
  std::vector<std::string> found;
  if (text.empty()) return found;
  std::string word;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != ',') {
      word += text[i];
    } else if (i + 1 < text.size() && text[i + 1] == ',') {
      word += ',';
      ++i;
    } else {
      found.push_back(std::exchange(word, {}));
    }
  }
  found.push_back(word);
  return found;
}

Status read_nodes(const ParsedArguments& parsed, TorchrunOptions& options) {
  const std::string& text = parsed.text("nnodes");
  const auto parts = split(text, ':');
  const auto least = python_integer(parts[0]);
  const auto most = parts.size() == 2 ? python_integer(parts[1]) : least;
  if (parts.size() > 2 || !least || !most)
    return fail(Error::Kind::kRefused, "--nnodes: '{}' is neither a number nor MIN:MAX", text);
  if (*least <= 0 || *least > *most || *most > kMostNodes)
    return fail(Error::Kind::kRefused, "--nnodes: '{}' must have 0 < MIN <= MAX", text);
  options.min_nodes = static_cast<int>(*least);
  options.max_nodes = static_cast<int>(*most);
  return {};
}

Status read_place(const ParsedArguments& parsed, TorchrunOptions& options) {
  const std::string& backend = parsed.text("rdzv-backend");
  const std::string& endpoint = parsed.text("rdzv-endpoint");
  const bool has_port = !parsed.text("master-port").empty();
  const bool node_rank_given = parsed.given.contains("node-rank");
  options.is_static = backend == "static";
  // Since 2.12 a single node that names no place for others to meet it takes a free port.
  options.alone = parsed.flag("standalone") ||
                  (options.is_static && options.max_nodes == 1 && endpoint.empty() && !has_port);
  if (options.alone) {
    options.is_static = false;
    options.endpoint = {"localhost", 0};
    return {};
  }
  if (backend.starts_with("etcd"))
    return fail(Error::Kind::kRefused,
                "--rdzv-backend {}: megalaunch needs no etcd. Use c10d with --rdzv-endpoint "
                "host:port, where host is one of the nodes; its agent is the meeting point.",
                backend);
  if (backend != "static" && backend != "c10d")
    return fail(Error::Kind::kRefused,
                "--rdzv-backend: '{}' is not known here; static and c10d are", backend);
  options.id = parsed.text("rdzv-id");
  if (options.is_static && endpoint.empty()) {
    const int64_t port = has_port ? parsed.integer("master-port") : kDefaultMasterPort;
    if (port <= 0 || port > 65535)
      return fail(Error::Kind::kRefused, "--master-port: {} is no port", port);
    auto host = parse_rendezvous_endpoint(parsed.text("master-addr"), 0);
    // An IPv6 address may stand without brackets here.
    options.endpoint.host = host && host->port == 0 ? host->host : parsed.text("master-addr");
    options.endpoint.port = static_cast<int>(port);
  } else {
    auto place = parse_rendezvous_endpoint(endpoint, options.is_static ? -1 : kDefaultPort);
    if (!place) return fail(std::move(place).error().within("--rdzv-endpoint"));
    if (place->port < 0)
      return fail(Error::Kind::kRefused,
                  "--rdzv-endpoint: '{}' has no port, which the static back end needs", endpoint);
    options.endpoint = *place;
  }
  if (options.endpoint.port == 0 && options.max_nodes > 1)
    return fail(Error::Kind::kRefused,
                "port 0 means a free one, and then the other nodes cannot know it: name a port in "
                "--rdzv-endpoint");
  if (options.is_static || node_rank_given) {
    const int64_t rank = parsed.integer("node-rank");
    if (rank < 0 || rank >= options.max_nodes)
      return fail(Error::Kind::kRefused,
                  "--node-rank: {} is not in 0 to {}, the nodes that --nnodes allows", rank,
                  options.max_nodes - 1);
    options.node_rank = static_cast<int>(rank);
  }
  return {};
}

Status read_script(const ParsedArguments& parsed, TorchrunOptions& options) {
  using Run = TorchrunOptions::Run;
  options.script = parsed.script;
  options.script_args = parsed.script_args;
  const bool module = parsed.flag("module"), no_python = parsed.flag("no-python");
  if (parsed.flag("run-path")) {
    options.run = Run::kPath;
  } else if (module && no_python) {
    return fail(Error::Kind::kRefused, "--module and --no-python exclude each other");
  } else {
    options.run = module ? Run::kModule : no_python ? Run::kProgram : Run::kScript;
  }
  return {};
}

Status read_logs(const ParsedArguments& parsed, const Variables& environment,
                 TorchrunOptions& options) {
  for (const auto& [name, target] :
       {std::pair{"redirects", &options.redirects}, std::pair{"tee", &options.tee}}) {
    auto choice = parse_stream_choice(parsed.text(name));
    if (!choice) return fail(std::move(choice).error().within(fmt::format("--{}", name)));
    *target = *choice;
  }
  if (const std::string& filter = parsed.text("local-ranks-filter"); !filter.empty())
    for (const std::string_view part : split(filter, ',')) {
      const auto rank = python_integer(part);
      if (!rank)
        return fail(Error::Kind::kRefused,
                    "--local-ranks-filter: '{}' is no list of local ranks such as 0,2", filter);
      options.local_ranks_filter.insert(static_cast<int>(*rank));
    }
  options.stdout_filters = words(parsed.text("duplicate-stdout-filters"));
  options.stderr_filters = words(parsed.text("duplicate-stderr-filters"));
  if (const std::string& dir = parsed.text("log-dir"); !dir.empty()) options.log_dir = dir;
  options.line_prefix = parsed.text("log-line-prefix-template");
  if (options.line_prefix.empty())
    options.line_prefix = environment.get("TORCHELASTIC_LOG_LINE_PREFIX_TEMPLATE").value_or("");
  if (options.line_prefix.empty()) options.line_prefix = "[${role_name}${local_rank}]:";
  return {};
}

Status read_course(const ParsedArguments& parsed, const Variables& environment,
                   TorchrunOptions& options) {
  const int64_t restarts = parsed.integer("max-restarts");
  if (restarts < 0 || restarts > kMostNodes)
    return fail(Error::Kind::kRefused, "--max-restarts: {} must be 0 or more", restarts);
  options.max_restarts = static_cast<int>(restarts);

  std::string grace = parsed.text("shutdown-timeout");
  if (grace.empty()) grace = environment.get("TORCH_ELASTIC_SHUTDOWN_TIMEOUT").value_or("30");
  const auto grace_seconds = python_integer(grace);
  if (!grace_seconds || *grace_seconds < 0 || *grace_seconds > kMostNodes)
    return fail(
        Error::Kind::kRefused,
        "--shutdown-timeout (or TORCH_ELASTIC_SHUTDOWN_TIMEOUT): '{}' must be 0 or more seconds",
        grace);
  options.shutdown_timeout = seconds(*grace_seconds);

  for (std::string_view name : split(parsed.text("signals-to-handle"), ',')) {
    while (name.starts_with(' ')) name.remove_prefix(1);
    while (name.ends_with(' ')) name.remove_suffix(1);
    const auto signal = parse_signal(name);
    if (signal && *signal != 9 && *signal != 19)
      options.signals.push_back(*signal);
    else
      options.notes.push_back(
          fmt::format("--signals-to-handle: '{}' cannot be handled and is left out", name));
  }
  return {};
}

Status read_rest(const ParsedArguments& parsed, const Variables& environment,
                 TorchrunOptions& options) {
  if (!parsed.text("logs-specs").empty())
    return fail(Error::Kind::kRefused,
                "--logs-specs {}: it names a Python plug-in, which a native launcher cannot load. "
                "Use --log-dir, --redirects and --tee.",
                parsed.text("logs-specs"));
  auto conf = parse_rendezvous_conf(parsed.text("rdzv-conf"), options.is_static);
  if (!conf) return fail(std::move(conf).error());
  options.conf = *conf;
  options.ranks_per_node = parsed.text("nproc-per-node");
  options.role = parsed.text("role");
  options.local_addr = parsed.text("local-addr");
  options.virtual_local_rank = parsed.flag("virtual-local-rank");
  options.numa_binding = parsed.text("numa-binding");
  if (parsed.text("event-log-handler") != "null")
    options.notes.push_back(
        "--event-log-handler means nothing here: events.jsonl beside the logs has the events");
  if (environment.get("TORCHELASTIC_ENABLE_FILE_TIMER") == "1")
    options.notes.push_back(
        "TORCHELASTIC_ENABLE_FILE_TIMER: there is no watchdog for timers here; ranks that "
        "configure one will say so");
  if (environment.get("TORCHELASTIC_HEALTH_CHECK_PORT"))
    options.notes.push_back("TORCHELASTIC_HEALTH_CHECK_PORT: there is no health check server here");
  return {};
}

std::string torchrun_help() {
  return "usage: torchrun [options] script [script arguments]\n\n"
         "Start, watch and restart the ranks of a distributed job: megalaunch with torchrun's "
         "options.\n"
         "Options may be spelled with dashes or underscores, and come from PET_<OPTION> too.\n"
         "docs/torchrun.md says where it differs from torchrun.\n\n" +
         describe_arguments(torchrun_options());
}

}  // namespace

Result<std::variant<TorchrunOptions, TorchrunAnswer>> parse_torchrun_options(
    const std::vector<std::string>& args, const Variables& environment) {
  const auto parsed = parse_arguments(torchrun_options(), args, environment);
  if (!parsed) return fail(parsed.error());
  if (parsed->question == "help") return TorchrunAnswer{torchrun_help()};
  if (!parsed->question.empty())
    return TorchrunAnswer{completion_script(torchrun_options(), parsed->text(parsed->question))};
  TorchrunOptions options;
  for (const Status& status :
       {read_nodes(*parsed, options), read_place(*parsed, options), read_script(*parsed, options),
        read_logs(*parsed, environment, options), read_course(*parsed, environment, options),
        read_rest(*parsed, environment, options)})
    if (!status) return fail(status.error());
  return options;
}

Result<int> ranks_on_node(const std::string& text, int gpus, int cpus) {
  constexpr int kMostRanks = 4096;
  if (const auto number = python_integer(text)) {
    if (*number < 1 || *number > kMostRanks)
      return fail(Error::Kind::kRefused, "--nproc-per-node: {} is not in 1 to {}", *number,
                  kMostRanks);
    return static_cast<int>(*number);
  }
  if (text == "cpu") return cpus;
  if (text == "auto") return gpus > 0 ? gpus : cpus;
  if (text != "gpu")
    return fail(Error::Kind::kRefused,
                "--nproc-per-node: '{}' is neither a number nor gpu, cpu or auto", text);
  if (gpus == 0)
    return fail(
        Error::Kind::kRefused,
        "--nproc-per-node gpu: this machine has no GPU that CUDA_VISIBLE_DEVICES leaves visible");
  return gpus;
}

int visible_gpus(const std::optional<std::string>& cuda_visible_devices, int gpus) {
  if (!cuda_visible_devices) return gpus;
  int visible = 0;
  for (const std::string_view part : split(*cuda_visible_devices, ',')) {
    const auto index = python_integer(part);
    const bool by_name = part.starts_with("GPU-") || part.starts_with("MIG-");
    if (!by_name && (!index || *index < 0 || *index >= gpus)) break;
    ++visible;
  }
  return visible;
}

}  // namespace megalaunch
