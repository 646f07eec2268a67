#include <stdio.h>

#include <CLI/App.hpp>
#include <filesystem>

#include "env/exit_code.h"
#include "launcher/cli/command.h"
#include "launcher/gang/node.h"
#include "launcher/torchrun/node.h"
#include "launcher/torchrun/options.h"

namespace megalaunch {
namespace {

/// torchrun's own: 2 for a command line that cannot be parsed, 1 for one that cannot be run.
int refuse(const Error& error, const Log& log) {
  log.error("torchrun: error: {}", error.message);
  return error.kind == Error::Kind::kUsage ? kExitUsage : kExitFailure;
}

}  // namespace

int run_torchrun(const std::string& called_as, const std::vector<std::string>& args,
                 CommandContext& context) {
  const auto options = parse_torchrun_options(args, context.environment);
  if (!options) return refuse(options.error(), context.log);
  if (const auto* answer = std::get_if<TorchrunAnswer>(&*options)) {
    ::fputs(answer->text.c_str(), stdout);
    return kExitSuccess;
  }
  std::error_code error;
  const auto cwd = std::filesystem::current_path(error);
  if (error)
    return refuse({Error::Kind::kSystem, error.value(), "the working directory is gone"},
                  context.log);
  hold_back_stop_signals();
  auto node =
      node_for_torchrun(std::get<TorchrunOptions>(*options), {called_as, cwd, context.environment},
                        MEGALAUNCH_VERSION, context.log);
  if (!node) {
    context.log.error("{}", node.error().message);
    return kExitFailure;
  }
  const auto exit_code = run_node(std::move(node->options));
  if (node->scratch) std::filesystem::remove_all(*node->scratch, error);
  if (!exit_code) {
    context.log.error("{}", exit_code.error().message);
    return kExitFailure;
  }
  return *exit_code;
}

void add_torchrun_command(CLI::App& app) {
  // Its command line is not CLI11's: run_command_line() hands it over before CLI11 sees it.
  app.add_subcommand("torchrun",
                     "Take torchrun's own options, like a megalaunch that is called torchrun");
}

}  // namespace megalaunch
