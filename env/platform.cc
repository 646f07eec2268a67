#include "env/platform.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>

namespace megalaunch {
namespace {

constexpr int kMaxNodes = 1 << 20;
constexpr int kMaxRanksPerNode = 1 << 12;

std::optional<int> parse_int(std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// Reads variables and keeps what is wrong with them.
class Reader {
 public:
  Reader(PlatformKind kind, const Variables& environment, std::vector<ContractProblem>& problems)
      : kind_(kind), environment_(environment), problems_(problems) {}

  std::optional<std::string> text(const char* name, std::string_view meaning) {
    if (auto value = environment_.get_nonempty(name)) return value;
    problem(name,
            fmt::format("{} is not set; on platform {} it is {}", name, to_string(kind_), meaning));
    return std::nullopt;
  }

  std::optional<int> number(const char* name, std::string_view meaning, int min, int max) {
    const auto value = text(name, meaning);
    return value ? checked(name, *value, meaning, min, max) : std::nullopt;
  }

  std::optional<int> optional_number(const char* name, std::string_view meaning, int min, int max) {
    const auto value = environment_.get_nonempty(name);
    return value ? checked(name, *value, meaning, min, max) : std::nullopt;
  }

  void problem(std::string variable, std::string message) {
    problems_.push_back({std::move(variable), std::move(message)});
  }

 private:
  std::optional<int> checked(const char* name, const std::string& value, std::string_view meaning,
                             int min, int max) {
    const auto number = parse_int(value);
    if (number && *number >= min && *number <= max) return number;
    problem(name, fmt::format("{}='{}' is not {} from {} to {}; on platform {} it is {}", name,
                              value, "a whole number", min, max, to_string(kind_), meaning));
    return std::nullopt;
  }

  PlatformKind kind_;
  const Variables& environment_;
  std::vector<ContractProblem>& problems_;
};

constexpr const char* kNodesMeaning = "the number of nodes";
constexpr const char* kRankMeaning = "the number of this node";
constexpr const char* kGpusMeaning = "the number of GPUs of a node";
constexpr const char* kAddressMeaning = "the host of node 0";
constexpr const char* kPortMeaning = "the port of node 0";

/// The names that a platform gives to the same five facts.
struct Names {
  const char* nodes;
  const char* rank;
  const char* gpus;
  bool rank_required;
};

void read_master(Reader& reader, const ContractOverrides& overrides, NodeContract& contract) {
  if (overrides.endpoint) return;
  if (auto host = reader.text("MASTER_ADDR", kAddressMeaning)) contract.endpoint.host = *host;
  if (auto port = reader.number("MASTER_PORT", kPortMeaning, 1, 65535))
    contract.endpoint.port = *port;
}

void read_counts(Reader& reader, const Names& names, const ContractOverrides& overrides,
                 NodeContract& contract) {
  if (!overrides.nodes)
    if (auto nodes = reader.number(names.nodes, kNodesMeaning, 1, kMaxNodes))
      contract.nodes = *nodes;
  contract.node_rank = names.rank_required
                           ? reader.number(names.rank, kRankMeaning, 0, kMaxNodes - 1)
                           : reader.optional_number(names.rank, kRankMeaning, 0, kMaxNodes - 1);
  if (!overrides.ranks_per_node && names.gpus != nullptr)
    if (auto ranks = reader.number(names.gpus, kGpusMeaning, 1, kMaxRanksPerNode))
      contract.ranks_per_node = *ranks;
}

void read_pytorchjob(Reader& reader, const Variables& environment,
                     const ContractOverrides& overrides, const HostFacts& host,
                     NodeContract& contract) {
  // The operator counts processes in WORLD_SIZE when PET_NPROC_PER_NODE is a number; PET_NNODES
  // counts pods always.
  const bool has_pet = environment.get_nonempty("PET_NNODES").has_value();
  read_counts(reader, {has_pet ? "PET_NNODES" : "WORLD_SIZE", "RANK", nullptr, true}, overrides,
              contract);
  const auto ranks = environment.get_nonempty("PET_NPROC_PER_NODE");
  const bool is_number = ranks && parse_int(*ranks);
  contract.ranks_per_node =
      is_number ? reader.number("PET_NPROC_PER_NODE", kGpusMeaning, 1, kMaxRanksPerNode).value_or(1)
                : host.gpus.value_or(1);
  read_master(reader, overrides, contract);
}

void read_slurm(Reader& reader, const Variables& environment, const ContractOverrides& overrides,
                const HostFacts& host, NodeContract& contract) {
  const bool has_step = environment.get_nonempty("SLURM_STEP_NUM_NODES").has_value();
  read_counts(
      reader,
      {has_step ? "SLURM_STEP_NUM_NODES" : "SLURM_JOB_NUM_NODES", "SLURM_NODEID", nullptr, true},
      overrides, contract);
  contract.ranks_per_node =
      reader.optional_number("SLURM_GPUS_ON_NODE", kGpusMeaning, 1, kMaxRanksPerNode)
          .value_or(host.gpus.value_or(1));
  if (overrides.endpoint) return;
  if (auto address = environment.get_nonempty("MASTER_ADDR")) {
    contract.endpoint.host = *address;
  } else if (auto list = reader.text(has_step ? "SLURM_STEP_NODELIST" : "SLURM_JOB_NODELIST",
                                     "the list of nodes")) {
    contract.endpoint.host = first_slurm_host(*list);
  }
  if (auto port = reader.optional_number("MASTER_PORT", kPortMeaning, 1, 65535)) {
    contract.endpoint.port = *port;
  } else if (environment.get_nonempty("MASTER_PORT") == std::nullopt) {
    // Every node must come to the same port without talking: two jobs on a node rarely share the
    // last digits.
    const auto id = reader.number("SLURM_JOB_ID", "the number of the job", 0, 2147483647);
    contract.endpoint.port = 20000 + id.value_or(0) % 20000;
  }
}

void read_local(Reader& reader, const ContractOverrides& overrides, const HostFacts& host,
                NodeContract& contract) {
  contract.ranks_per_node = host.gpus.value_or(1);
  contract.endpoint = {"127.0.0.1", 0};
  if (overrides.nodes.value_or(1) == 1) {
    contract.node_rank = 0;
  } else if (!overrides.endpoint && !host.only_looks) {
    reader.problem(
        "launch.endpoint",
        fmt::format("launch.endpoint is needed: {} nodes on platform local have to know where "
                    "node 0 listens (host:port)",
                    *overrides.nodes));
  }
}

}  // namespace

const std::vector<std::string>& platform_kind_words() {
  static const std::vector<std::string> words{"auto",       "tianqing", "dlc",  "dsw",
                                              "pytorchjob", "slurm",    "local"};
  return words;
}

std::string_view to_string(PlatformKind kind) {
  return platform_kind_words()[static_cast<size_t>(kind)];
}

std::optional<PlatformKind> parse_platform_kind(std::string_view word) {
  const auto& words = platform_kind_words();
  const auto found = std::find(words.begin(), words.end(), word);
  if (found == words.end()) return std::nullopt;
  return static_cast<PlatformKind>(found - words.begin());
}

std::string Endpoint::to_string() const {
  return host.find(':') == std::string::npos ? fmt::format("{}:{}", host, port)
                                             : fmt::format("[{}]:{}", host, port);
}

std::optional<Endpoint> parse_endpoint(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  std::string_view host = text.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    return std::nullopt;
  }
  const auto port = parse_int(text.substr(colon + 1));
  if (host.empty() || !port || *port < 0 || *port > 65535) return std::nullopt;
  return Endpoint{std::string(host), *port};
}

PlatformKind detect_platform(const Variables& environment) {
  const auto has = [&](const char* name) { return environment.get_nonempty(name).has_value(); };
  if (has("TQ_GPU_NUM")) return PlatformKind::kTianqing;
  if (has("KUBERNETES_CONTAINER_RESOURCE_GPU")) return PlatformKind::kDlc;
  if (has("PET_NNODES") || has("WORLD_SIZE") || has("RANK") || has("MASTER_ADDR"))
    return PlatformKind::kPyTorchJob;
  if (has("SLURM_JOB_NUM_NODES") && has("SLURM_NODEID")) return PlatformKind::kSlurm;
  return PlatformKind::kLocal;
}

ContractReading read_node_contract(PlatformKind kind, const Variables& environment,
                                   const ContractOverrides& overrides, const HostFacts& host) {
  ContractReading reading;
  NodeContract& contract = reading.contract;
  contract.platform = kind == PlatformKind::kAuto ? detect_platform(environment) : kind;
  Reader reader(contract.platform, environment, reading.problems);
  switch (contract.platform) {
    case PlatformKind::kTianqing:
      read_counts(reader, {"WORLD_SIZE", "RANK", "TQ_GPU_NUM", false}, overrides, contract);
      read_master(reader, overrides, contract);
      break;
    case PlatformKind::kDlc:
      read_counts(reader, {"WORLD_SIZE", "RANK", "KUBERNETES_CONTAINER_RESOURCE_GPU", true},
                  overrides, contract);
      read_master(reader, overrides, contract);
      break;
    case PlatformKind::kDsw:
      contract.node_rank = 0;
      contract.ranks_per_node = 8;
      contract.endpoint = {"localhost", host.drawn_port.value_or(0)};
      break;
    case PlatformKind::kPyTorchJob:
      read_pytorchjob(reader, environment, overrides, host, contract);
      break;
    case PlatformKind::kSlurm:
      read_slurm(reader, environment, overrides, host, contract);
      break;
    case PlatformKind::kAuto:
    case PlatformKind::kLocal:
      read_local(reader, overrides, host, contract);
      break;
  }
  if (auto output = environment.get_nonempty("OUTPUT_DIR")) contract.output = *output;

  if (overrides.nodes) contract.nodes = *overrides.nodes;
  if (overrides.ranks_per_node) contract.ranks_per_node = *overrides.ranks_per_node;
  if (overrides.endpoint) {
    if (auto endpoint = parse_endpoint(*overrides.endpoint)) {
      contract.endpoint = *endpoint;
    } else {
      reader.problem("launch.endpoint",
                     fmt::format("launch.endpoint '{}' is not host:port", *overrides.endpoint));
    }
  }
  if (reading.problems.empty() && contract.node_rank && *contract.node_rank >= contract.nodes)
    reader.problem("RANK",
                   fmt::format("this is node {} of {} nodes (they count from 0): RANK and "
                               "WORLD_SIZE, which count nodes "
                               "on platform {}, contradict each other",
                               *contract.node_rank, contract.nodes, to_string(contract.platform)));
  return reading;
}

std::optional<int> count_gpus() {
  int count = 0;
  std::error_code error;
  while (std::filesystem::exists(fmt::format("/dev/nvidia{}", count), error)) ++count;
  return count > 0 ? std::optional<int>(count) : std::nullopt;
}

std::string first_slurm_host(std::string_view list) {
  const size_t bracket = list.find('[');
  const size_t comma = list.find(',');
  if (bracket == std::string_view::npos || comma < bracket)
    return std::string(list.substr(0, comma));
  const std::string_view inside = list.substr(bracket + 1);
  return fmt::format("{}{}", list.substr(0, bracket),
                     inside.substr(0, inside.find_first_of(",-]")));
}

}  // namespace megalaunch
