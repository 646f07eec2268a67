#pragma once

#include <string>
#include <vector>

#include "env/log.h"
#include "env/result.h"
#include "env/variables.h"

namespace CLI {
class App;
}

namespace megalaunch {

/// What every subcommand gets from main(): the environment it was started with and where messages
/// go. A subcommand's callback stores its exit status in `exit_code`.
struct CommandContext {
  Variables environment;
  Log log;
  int exit_code = 0;
};

/// Each subcommand lives in the file of its name and adds itself with its flags, help text and
/// callback. The context outlives the application object.
void add_run_command(CLI::App& app, CommandContext& context);
void add_render_command(CLI::App& app, CommandContext& context);
void add_check_command(CLI::App& app, CommandContext& context);
void add_status_command(CLI::App& app, CommandContext& context);
void add_init_command(CLI::App& app, CommandContext& context);
void add_presets_command(CLI::App& app, CommandContext& context);
void add_store_command(CLI::App& app, CommandContext& context);
void add_diagnose_command(CLI::App& app, CommandContext& context);
void add_report_command(CLI::App& app, CommandContext& context);
void add_torchrun_command(CLI::App& app);

/// The drop-in for torchrun: `args` as torchrun takes them. Returns the exit status.
int run_torchrun(const std::string& called_as, const std::vector<std::string>& args,
                 CommandContext& context);

/// Reports `error` on the log and returns the exit status that its kind stands for.
int exit_with(const Error& error, const Log& log);

/// Parses argv and runs the subcommand it names. Returns the exit status.
int run_command_line(int argc, const char* const* argv, CommandContext& context);

}  // namespace megalaunch
