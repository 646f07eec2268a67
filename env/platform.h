#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "env/variables.h"

namespace megalaunch {

/// Who started this container, and so which variables say where it stands. kAuto is found out from
/// the variables.
enum class PlatformKind { kAuto, kTianqing, kDlc, kDsw, kPyTorchJob, kSlurm, kLocal };

/// "tianqing" and so on; the words of the job file.
std::string_view to_string(PlatformKind kind);
std::optional<PlatformKind> parse_platform_kind(std::string_view word);
/// All words of the job file, in the order of the enumeration.
const std::vector<std::string>& platform_kind_words();

/// "host:port" taken apart. The host of "[::1]:29500" is "::1".
struct Endpoint {
  std::string host;
  int port = 0;

  std::string to_string() const;
  bool operator==(const Endpoint&) const = default;
};
/// Nothing when the text is not host:port with a port from 0 to 65535.
std::optional<Endpoint> parse_endpoint(std::string_view text);

/// What the platform says about the job and this node's place in it.
struct NodeContract {
  PlatformKind platform = PlatformKind::kLocal;  ///< never kAuto
  int nodes = 1;
  std::optional<int> node_rank;  ///< nothing: the order of arrival decides
  int ranks_per_node = 1;
  Endpoint endpoint;  ///< where node 0's agent listens. Port 0: it picks a free one (one node only)
  std::optional<std::filesystem::path> output;  ///< where the platform keeps what the job writes
};

/// What stands above the platform: values that the job file gives. The variables for these are not
/// read.
struct ContractOverrides {
  std::optional<int> nodes;
  std::optional<int> ranks_per_node;
  std::optional<std::string> endpoint;
};

/// What the contract needs to know of the machine and of chance, which variables do not say.
struct HostFacts {
  std::optional<int> gpus;        ///< GPUs of this machine; nothing when unknown or none
  std::optional<int> drawn_port;  ///< the random port that `dsw` uses
  bool only_looks = false;        ///< nothing is started: several local nodes need no endpoint
};

/// A variable that is missing or makes no sense. The message names it.
struct ContractProblem {
  std::string variable;
  std::string message;
};

/// Reads the platform's variables (names in docs/platforms.md). All problems are found at once;
/// `contract` is complete only when there are none. On all platforms WORLD_SIZE and RANK count
/// nodes.
struct ContractReading {
  NodeContract contract;
  std::vector<ContractProblem> problems;
};
ContractReading read_node_contract(PlatformKind kind, const Variables& environment,
                                   const ContractOverrides& overrides, const HostFacts& host);

/// The number of NVIDIA devices of this machine (/dev/nvidia0, ...), or nothing when it has none.
std::optional<int> count_gpus();

/// What kAuto stands for in this environment; kLocal when nothing is set.
PlatformKind detect_platform(const Variables& environment);

/// The first host of a Slurm list: "n[03-05,9],m1" gives "n03".
std::string first_slurm_host(std::string_view list);

}  // namespace megalaunch
