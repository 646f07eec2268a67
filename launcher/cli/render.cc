#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "env/clock.h"
#include "env/exit_code.h"
#include "launcher/cli/command.h"
#include "launcher/cli/job_json.h"
#include "launcher/cli/planned_job.h"
#include "launcher/cli/shell_words.h"

namespace megalaunch {
namespace {

using nlohmann::ordered_json;

struct RenderFlags {
  JobFlags job;
  bool json = false;
  std::string at;
  std::optional<int> port;
};

/// What a job of either kind comes down to.
struct Rendered {
  std::string entry;
  std::vector<std::string> args;
  std::vector<std::string> argv;
  std::string cwd;
  std::map<std::string, std::string> env;
  std::vector<std::string> directories;
  std::vector<CopyRule> copies;
  std::vector<Check> checks;
};

Rendered rendered_from(const PlannedJob& planned) {
  Rendered r;
  if (planned.megatron) {
    const MegatronCommand& m = *planned.megatron;
    r = {m.entry, m.program_args, m.argv(), m.cwd, m.env, m.directories, m.copies, m.checks};
  } else {
    r.argv = planned.job->command;
    r.entry = r.argv.front();
    r.args.assign(r.argv.begin() + 1, r.argv.end());
    r.cwd = planned.plan->cwd.string();
    if (planned.plan->output) r.directories.push_back(planned.plan->output->string());
  }
  for (const auto& [name, value] : planned.job->env) r.env[name] = value;
  return r;
}

ordered_json to_json(const Rendered& r, const LaunchPlan& plan) {
  ordered_json copies = ordered_json::array();
  for (const CopyRule& copy : r.copies)
    copies.push_back(
        {{"from", (std::filesystem::path(copy.from) / copy.pattern).string()}, {"to", copy.to}});
  return {{"entry", r.entry},
          {"program_args", r.args},
          {"env", r.env},
          {"cwd", r.cwd},
          {"directories", r.directories},
          {"copies", copies},
          {"nodes", plan.nodes},
          {"ranks_per_node", plan.ranks_per_node},
          {"endpoint", plan.endpoint.to_string()},
          {"log_dir", plan.log_dir.string()},
          {"checks", checks_json(r.checks)}};
}

/// For a person, and for a shell: what follows "# command" can be pasted.
std::string to_text(const Rendered& r, const LaunchPlan& plan) {
  std::string text =
      fmt::format("# {} nodes of {} ranks, meeting at {}; logs in {}\n", plan.nodes,
                  plan.ranks_per_node, plan.endpoint.to_string(), plan.log_dir.string());
  for (const std::string& directory : r.directories)
    text += fmt::format("mkdir -p {}\n", shell_word(directory));
  for (const CopyRule& copy : r.copies)
    text += fmt::format("# {} -> {}\n", (std::filesystem::path(copy.from) / copy.pattern).string(),
                        copy.to);
  text += fmt::format("cd {}\n", shell_word(r.cwd));
  for (const auto& [name, value] : r.env)
    text += fmt::format("export {}={}\n", name, shell_word(value));
  text += "# command of each rank\n" + shell_lines(r.argv) + "\n";
  return text;
}

int render(const RenderFlags& flags, const CommandContext& context) {
  WallTime now = SystemClock().wall();
  if (!flags.at.empty()) {
    const auto at = parse_time(flags.at);
    if (!at) {
      context.log.error("--at '{}' is not a time such as 2024-11-07T16:27:21", flags.at);
      return kExitUsage;
    }
    now = *at;
  }
  const PlannedJob planned =
      plan_job(flags.job, context.environment, {count_gpus(), flags.port, true}, now);
  for (const JobError& error : planned.errors) context.log.error("{}", error.to_string());
  if (!planned.errors.empty()) {
    if (flags.json)
      fmt::print("{}\n", ordered_json{{"errors", errors_json(planned.errors)}}.dump(2));
    return kExitUsage;
  }
  const Rendered rendered = rendered_from(planned);
  for (const Check& check : rendered.checks) {
    const bool is_error = check.level == Check::Level::kError;
    context.log.write(is_error ? Log::Level::kError : Log::Level::kWarning,
                      fmt::format("{}: {}", check.code, check.message));
  }
  if (flags.json) {
    ordered_json object = to_json(rendered, *planned.plan);
    if (planned.megatron)
      object["estimate"] = estimate_json(estimate_training(planned.megatron->training), kCardMib80);
    fmt::print("{}\n", object.dump(2, ' ', false, ordered_json::error_handler_t::replace));
  } else {
    fmt::print("{}", to_text(rendered, *planned.plan));
  }
  return has_errors(rendered.checks) && !flags.job.no_checks ? kExitRefused : kExitSuccess;
}

constexpr const char* kHelp =
    R"(Shows what `run` would start, and starts nothing: the command of each rank, its environment, its directory, the
directories and copies made first, and what the checks say. It looks at no data, model or output path, so that a
laptop gives the same answer as the cluster.

  megalaunch render job.yaml                       as lines that a shell understands
  megalaunch render job.yaml --json | jq .env      as one JSON object
  megalaunch render job.yaml --set parallel.pp=4   with a value of the file replaced

The nodes are those of the platform's variables (WORLD_SIZE, TQ_GPU_NUM, ...). Without them say how many:
--set launch.nodes=4 --set launch.ranks_per_node=8 --set launch.endpoint=node0:29500

Exit status: 0 rendered, 2 the job file or the environment is wrong, 3 the checks refuse.)";

}  // namespace

void add_render_command(CLI::App& app, CommandContext& context) {
  auto flags = std::make_shared<RenderFlags>();
  CLI::App* command = app.add_subcommand(
      "render", "Show the exact command, environment and checks of a job; start nothing");
  command->footer(kHelp);
  add_job_flags(*command, flags->job);
  command->add_flag("--json", flags->json, "Print one JSON object");
  command->add_flag("--no-checks", flags->job.no_checks,
                    "Exit with 0 although the checks refuse the job");
  command->add_option("--at", flags->at, "The time (UTC) that goes into names, instead of now")
      ->type_name("2024-11-07T16:27:21");
  command->add_option("--port", flags->port, "The port that platform dsw draws")
      ->check(CLI::Range(1, 65535));
  command->callback([flags, &context] { context.exit_code = render(*flags, context); });
}

}  // namespace megalaunch
