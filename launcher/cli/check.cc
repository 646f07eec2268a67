#include <fmt/format.h>
#include <unistd.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "env/clock.h"
#include "env/exit_code.h"
#include "env/gpu_memory.h"
#include "launcher/cli/command.h"
#include "launcher/cli/job_json.h"
#include "launcher/cli/planned_job.h"
#include "launcher/cli/rules_file.h"
#include "launcher/megatron/estimate.h"
#include "launcher/megatron/path_checks.h"

namespace megalaunch {
namespace {

using nlohmann::ordered_json;

struct CheckFlags {
  JobFlags job;
  bool json = false;
  bool no_paths = false;
};

/// "70.6 billion", "494 million".
std::string in_words(double number) {
  if (number >= 1e12) return fmt::format("{:.3g} trillion", number / 1e12);
  if (number >= 1e9) return fmt::format("{:.3g} billion", number / 1e9);
  if (number >= 1e6) return fmt::format("{:.3g} million", number / 1e6);
  return fmt::format("{}", number);
}

std::string estimate_text(const Estimate& e, const Training& t, double card_mib) {
  std::string text = fmt::format("{} on {} GPUs ({} nodes of {})", t.model.name, t.world(), t.nodes,
                                 t.ranks_per_node);
  if (e.parameters > 0)
    text += fmt::format(", {} parameters", in_words(static_cast<double>(e.parameters)));
  text += fmt::format("\n  {} iterations of {:.4g} FLOPs, {} tokens in all\n", e.iterations,
                      e.flops_per_iteration, in_words(static_cast<double>(e.tokens)));
  if (e.micro_batches > 0)
    text += fmt::format("  {} micro batches per copy of the model, pipeline bubble {:.1f} %\n",
                        e.micro_batches, 100 * e.bubble);
  text +=
      fmt::format("  memory of the fullest stage ({}): {:.0f} of {:.0f} MiB, {} ({})\n",
                  e.fullest_stage, e.memory_mib, card_mib, to_string(verdict_for(e, card_mib)),
                  e.memory_unproven ? "pp 1 with tp > 1 took more than this in three measured runs"
                                    : "usually within 5 %");
  return text;
}

/// A job of one program: whether it can be started where it says.
std::vector<Check> check_command_paths(const Job& job, const LaunchPlan& plan) {
  std::vector<Check> checks;
  std::error_code error;
  const auto level = job.prepare.empty() ? Check::Level::kError : Check::Level::kWarning;
  if (!std::filesystem::is_directory(plan.cwd, error))
    checks.push_back(
        {"workdir-missing", level, fmt::format("workdir: {} is no directory", plan.cwd.string())});
  const std::string& program = job.command.front();
  if (program.find('/') != std::string::npos && ::access((plan.cwd / program).c_str(), X_OK) != 0)
    checks.push_back(
        {"program-missing", level,
         fmt::format("command: {} cannot be executed", (plan.cwd / program).string())});
  return checks;
}

int check(const CheckFlags& flags, const CommandContext& context) {
  PlannedJob planned = plan_job(flags.job, context.environment, {count_gpus(), std::nullopt, true},
                                SystemClock().wall());
  if (planned.job && planned.job->restart.causes && !flags.no_paths) {
    const auto rules = rules_with_file(planned.job->workdir / *planned.job->restart.causes);
    if (!rules)
      planned.errors.push_back(
          {planned.job->file.string(), 0, 0, "restart.causes", rules.error().message});
  }
  if (!planned.errors.empty()) {
    for (const JobError& error : planned.errors) context.log.error("{}", error.to_string());
    if (flags.json)
      fmt::print("{}\n", ordered_json{{"errors", errors_json(planned.errors)}}.dump(2));
    return kExitUsage;
  }
  std::vector<Check> checks;
  std::vector<Check> paths;
  bool look_at_paths = !flags.no_paths;
  if (planned.megatron) {
    checks = planned.megatron->checks;
    look_at_paths = look_at_paths && !is_elsewhere(*planned.megatron);
    if (look_at_paths) paths = check_paths(*planned.job, *planned.megatron);
  } else if (look_at_paths) {
    paths = check_command_paths(*planned.job, *planned.plan);
  }
  checks.insert(checks.end(), paths.begin(), paths.end());

  const double card_mib = smallest_gpu_memory_mib().value_or(kCardMib80);
  std::optional<Estimate> estimate;
  if (planned.megatron) estimate = estimate_training(planned.megatron->training);
  if (flags.json) {
    ordered_json object{{"checks", checks_json(checks)}, {"looked_at_paths", look_at_paths}};
    if (estimate) object["estimate"] = estimate_json(*estimate, card_mib);
    fmt::print("{}\n", object.dump(2, ' ', false, ordered_json::error_handler_t::replace));
  } else {
    if (estimate) fmt::print("{}", estimate_text(*estimate, planned.megatron->training, card_mib));
    for (const Check& one : checks)
      fmt::print("{}: {}\n    {}\n", one.level == Check::Level::kError ? "REFUSED" : "warning",
                 one.code, one.message);
    if (checks.empty()) fmt::print("all checks pass\n");
    if (!look_at_paths)
      fmt::print("paths were not looked at{}\n",
                 flags.no_paths ? "" : ": nothing of this job is on this machine");
  }
  return has_errors(checks) ? kExitRefused : kExitSuccess;
}

constexpr const char* kHelp =
    R"(Looks a job over before it costs anything: the rules by which Megatron would refuse it at start-up, all at once and
with the nearest settings that pass; the paths that it reads and writes on this machine; and an estimate of its size,
its memory and its pipeline. `run` does the same first, and does not start what is refused.

  megalaunch check job.yaml
  megalaunch check job.yaml --no-paths --set launch.nodes=4 --set launch.ranks_per_node=8 \
                            --set launch.endpoint=node0:29500          on a laptop, for four nodes of eight
  megalaunch check job.yaml --json | jq .estimate

Exit status: 0 it may start (with or without warnings), 2 the job file or the environment is wrong, 3 refused.)";

}  // namespace

void add_check_command(CLI::App& app, CommandContext& context) {
  auto flags = std::make_shared<CheckFlags>();
  CLI::App* command = app.add_subcommand(
      "check", "Say what is wrong with a job, and what it will cost; start nothing");
  command->footer(kHelp);
  add_job_flags(*command, flags->job);
  command->add_flag("--json", flags->json, "Print one JSON object: checks, estimate");
  command->add_flag("--no-paths", flags->no_paths,
                    "Leave out what depends on the files of this machine");
  command->callback([flags, &context] { context.exit_code = check(*flags, context); });
}

}  // namespace megalaunch
