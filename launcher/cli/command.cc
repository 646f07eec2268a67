#include "launcher/cli/command.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <exception>
#include <filesystem>

#include "env/exit_code.h"

namespace megalaunch {

int exit_with(const Error& error, const Log& log) {
  log.error("{}", error.message);
  switch (error.kind) {
    case Error::Kind::kUsage:
      return kExitUsage;
    case Error::Kind::kRefused:
      return kExitRefused;
    default:
      return kExitFailure;
  }
}

int run_command_line(int argc, const char* const* argv, CommandContext& context) try {
  const std::vector<std::string> words(argv, argv + argc);
  if (argc > 0 && std::filesystem::path(words[0]).filename() == "torchrun")
    return run_torchrun(words[0], {words.begin() + 1, words.end()}, context);
  if (argc > 1 && words[1] == "torchrun")
    return run_torchrun(words[0], {words.begin() + 2, words.end()}, context);
  CLI::App app{"megalaunch starts, watches and restarts the ranks of a distributed training job."};
  app.require_subcommand(1);
  app.set_version_flag("--version", MEGALAUNCH_VERSION);
  add_run_command(app, context);
  add_render_command(app, context);
  add_check_command(app, context);
  add_status_command(app, context);
  add_init_command(app, context);
  add_presets_command(app, context);
  add_store_command(app, context);
  add_diagnose_command(app, context);
  add_report_command(app, context);
  add_torchrun_command(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const bool only_help = app.exit(error) == 0;
    return only_help ? kExitSuccess : kExitUsage;
  }
  return context.exit_code;
} catch (const std::exception& error) {
  context.log.error(
      "internal error: {}. This is a bug in megalaunch; please report it with the command line.",
      error.what());
  return kExitFailure;
}

}  // namespace megalaunch
