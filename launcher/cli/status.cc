#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "env/exit_code.h"
#include "launcher/cli/command.h"
#include "launcher/gang/journal.h"

namespace megalaunch {
namespace {

struct StatusFlags {
  std::string log_dir;
  bool json = false;
};

constexpr const char* kHelp =
    R"(Reads the journal that
node 0 keeps in the log folder, so it works on every node that sees that folder, also after the end.
Exit status: 0 while the run goes on or when it ended well, 1 when it ended badly, 2 when there is no journal.)";

std::string text_of(const JournalState& state, const std::filesystem::path& log_dir) {
  std::string text = fmt::format("{}  run {}, {} node{}, started {}\n", state.job, state.run_id,
                                 state.nodes, state.nodes == 1 ? "" : "s", state.start_time);
  text += state.exit_code
              ? fmt::format("  ended {} with exit code {}\n", state.since, *state.exit_code)
              : fmt::format("  {} since {}: {}\n", state.phase, state.since, state.detail);
  text += fmt::format("  generation {} ({} restart{})\n", state.generation, state.generation,
                      state.generation == 1 ? "" : "s");
  if (!state.last_failure.empty()) text += fmt::format("  last failure: {}\n", state.last_failure);
  text += fmt::format("  node 0: {}, pid {}\n  logs: {}\n", state.host, state.pid,
                      (log_dir / state.run_id).string());
  return text;
}

int status(const StatusFlags& flags, const Variables& environment, const Log& log) {
  std::filesystem::path log_dir = flags.log_dir;
  if (log_dir.empty()) {
    const auto output = environment.get_nonempty("OUTPUT_DIR");
    log_dir = output ? std::filesystem::path(*output) / "logs" : std::filesystem::path("logs");
  }
  const auto state = Journal::load(log_dir);
  if (!state) {
    log.error("{}", state.error().message);
    return kExitUsage;
  }
  if (!*state) {
    log.error("{} holds no journal.json; name the log folder of a run: megalaunch status LOG_DIR",
              log_dir.string());
    return kExitUsage;
  }
  if (!(*state)->note.empty()) log.warn("{}", (*state)->note);
  const std::string text = flags.json ? journal_json(**state) : text_of(**state, log_dir);
  std::fwrite(text.data(), 1, text.size(), stdout);
  return (*state)->exit_code.value_or(0) == 0 ? kExitSuccess : kExitFailure;
}

}  // namespace

void add_status_command(CLI::App& app, CommandContext& context) {
  const auto flags = std::make_shared<StatusFlags>();
  CLI::App* command =
      app.add_subcommand(
             "status", "Tell what runs, in which generation, since when, and why it was restarted")
          ->footer(kHelp);
  command->add_option("log_dir", flags->log_dir,
                      "The log folder of the job; default: $OUTPUT_DIR/logs, else ./logs");
  command->add_flag("--json", flags->json, "The journal's state as one JSON object");
  command->callback(
      [flags, &context] { context.exit_code = status(*flags, context.environment, context.log); });
}

}  // namespace megalaunch
