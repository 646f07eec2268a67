#include "launcher/megatron/command.h"

namespace megalaunch {
namespace {

using Settings = MegatronSettings;

/// The inherited value of a variable, unless the job file has its own.
std::string inherited(const Job& job, const Variables& environment, const std::string& name) {
  const auto own = job.env.find(name);
  return own != job.env.end() ? own->second : environment.get(name).value_or("");
}

std::map<std::string, std::string> program_environment(const Job& job, const LaunchPlan& plan,
                                                       const Variables& environment,
                                                       const Training& t) {
  std::map<std::string, std::string> env{{"CUDA_DEVICE_MAX_CONNECTIONS", "1"}};
  if (plan.platform == PlatformKind::kDsw) env["CUDA_VISIBLE_DEVICES"] = "0,1,2,3,4,5,6,7";
  if (t.model.family == ModelFamily::kGpt) {
    if (t.script == nullptr) env["PYTORCH_CUDA_ALLOC_CONF"] = "expandable_segments:True";
    return env;
  }
  const std::string before = inherited(job, environment, "PYTHONPATH");
  // An empty entry is the current directory: the scripts leave one at the end, own mode does not.
  const std::string separator = t.script != nullptr || !before.empty() ? ":" : "";
  env["PYTHONPATH"] = t.root + ":" + t.root + "/PAI-Megatron-LM-240718" + separator + before;
  env["PYTORCH_CUDA_ALLOC_CONF"] = "expandable_segments:True";
  env["NVTE_FLASH_ATTN"] = t.flash_attention ? "1" : "0";
  env["NVTE_FUSED_ATTN"] = t.flash_attention ? "0" : "1";
  if (t.precision == Settings::Precision::kFp16) env["NVTE_APPLY_QK_LAYER_SCALING"] = "1";
  return env;
}

std::vector<std::string> needed_directories(const Training& t) {
  if (t.script != nullptr && t.model.family == ModelFamily::kGpt) {
    const std::string base = t.output.starts_with('/') ? "" : program_cwd(t) + "/";
    return {base + t.checkpoint_dir};
  }
  return {t.output + "/tensorboard", t.output + "/checkpoint", t.output + "/log", t.tensorboard_dir,
          t.checkpoint_dir};
}

/// The tokenizer's files go beside the checkpoint, so that a run can later be loaded from there.
std::vector<CopyRule> needed_copies(const Training& t) {
  if (t.model.family == ModelFamily::kGpt || t.load.empty()) return {};
  std::vector<CopyRule> copies{{t.load, "*.json", t.checkpoint_dir, true}};
  if (t.model.family == ModelFamily::kQwen)
    copies.push_back({t.load, "merges.txt", t.checkpoint_dir, true});
  if (t.script == nullptr) copies.push_back({t.load, "tokenizer.model", t.checkpoint_dir, false});
  return copies;
}

}  // namespace

std::vector<std::string> MegatronCommand::argv() const {
  std::vector<std::string> argv{"python3", "-u", entry};
  argv.insert(argv.end(), program_args.begin(), program_args.end());
  return argv;
}

PlannedMegatron plan_megatron(const Job& job, const LaunchPlan& plan, const Variables& environment,
                              WallTime now, const std::optional<ResumeFrom>& resume) {
  PlannedMegatron planned;
  ResolvedTraining resolved = resolve_training(job, plan, now);
  planned.errors = std::move(resolved.errors);
  if (!planned.errors.empty()) return planned;

  MegatronCommand command;
  command.training = std::move(*resolved.training);
  const Training& t = command.training;
  command.entry = program_entry(t);
  command.cwd = program_cwd(t);
  command.program_args = program_arguments(t, resume);
  command.env = program_environment(job, plan, environment, t);
  command.directories = needed_directories(t);
  command.copies = needed_copies(t);
  command.checks = check_training(t);

  const std::vector<std::string> computed(
      command.program_args.begin(),
      command.program_args.end() - static_cast<std::ptrdiff_t>(t.extra_args.size()));
  if (auto status = check_extra_arguments(computed, t.extra_args); !status) {
    const auto& positions = job.megatron->positions;
    const auto found = positions.find("extra_args");
    const auto& where = found != positions.end() ? found->second : job.megatron->section;
    planned.errors.push_back(
        {where.file, where.line, where.column, "extra_args", status.error().message});
    return planned;
  }
  planned.command = std::move(command);
  return planned;
}

}  // namespace megalaunch
