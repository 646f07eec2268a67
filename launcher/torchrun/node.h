#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "env/log.h"
#include "env/result.h"
#include "env/variables.h"
#include "launcher/gang/node.h"
#include "launcher/torchrun/options.h"

namespace megalaunch {

/// What a torchrun command line becomes.
struct TorchrunNode {
  NodeOptions options;
  std::optional<std::filesystem::path> scratch;  ///< to be removed at the end, with what is in it
};

/// Where the command line was given.
struct TorchrunPlace {
  std::string called_as;      ///< argv[0]
  std::filesystem::path cwd;  ///< absolute
  Variables environment;
};

/// Translates: finds the interpreter, counts GPUs and CPUs, makes the run's log folder, decides
/// whether this node hosts. Resolves the endpoint's name, so it may block for the resolver's
/// time-out.
Result<TorchrunNode> node_for_torchrun(const TorchrunOptions& options, const TorchrunPlace& place,
                                       const std::string& version, const Log& log);

}  // namespace megalaunch
