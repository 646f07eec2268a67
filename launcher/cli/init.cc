#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <filesystem>
#include <memory>

#include "env/exit_code.h"
#include "env/file_aside.h"
#include "env/gpu_memory.h"
#include "launcher/cli/command.h"
#include "launcher/megatron/suggest.h"

namespace megalaunch {
namespace {

struct InitFlags {
  SuggestionWish wish;
  std::string output;
  bool force = false;
};

int init(InitFlags& flags, const CommandContext& context) {
  flags.wish.card_mib = smallest_gpu_memory_mib().value_or(kCardMib80);
  const auto suggestion = suggest_job(flags.wish);
  if (!suggestion) return exit_with(suggestion.error(), context.log);
  if (!suggestion->fits)
    context.log.warn(
        "no split over {} GPUs surely fits {:.0f} MiB; this one needs least, {:.0f} MiB: use more "
        "GPUs, or "
        "activations.mode: full",
        flags.wish.gpus, flags.wish.card_mib, suggestion->estimate.memory_mib);
  if (flags.output.empty()) {
    fmt::print("{}", suggestion->text);
    return kExitSuccess;
  }
  std::error_code error;
  if (!flags.force && std::filesystem::exists(flags.output, error)) {
    context.log.error("{} is there already; --force replaces it", flags.output);
    return kExitUsage;
  }
  const auto written = replace_file(std::filesystem::absolute(flags.output), suggestion->text);
  if (!written) return exit_with(written.error(), context.log);
  context.log.info("wrote {}; look it over, then: megalaunch check {}", flags.output, flags.output);
  return kExitSuccess;
}

constexpr const char* kHelp =
    R"(The file has comments on every key, splits the model as little as its memory allows, and passes the checks. What
it cannot know are the paths: root, data and load.

  megalaunch init --model llama3.1-8b --gpus 32 -o job.yaml
  megalaunch init --model qwen2.5-72b --gpus 64 --precision fp8

`megalaunch presets` lists the models.)";

}  // namespace

void add_init_command(CLI::App& app, CommandContext& context) {
  auto flags = std::make_shared<InitFlags>();
  CLI::App* command =
      app.add_subcommand("init", "Write a commented job file for a model and a number of GPUs");
  command->footer(kHelp);
  command->add_option("--model", flags->wish.model, "A preset, or the path of one of your own")
      ->required();
  command->add_option("--gpus", flags->wish.gpus, "GPUs of the whole job")
      ->required()
      ->check(CLI::Range(1, 1 << 20));
  command->add_option("--gpus-per-node", flags->wish.gpus_per_node, "GPUs of a node")
      ->capture_default_str()
      ->check(CLI::Range(1, 1024));
  command->add_option("--precision", flags->wish.precision, "fp16, bf16 or fp8")
      ->capture_default_str()
      ->check(CLI::IsMember({"fp16", "bf16", "fp8"}));
  command->add_option("-o,--output", flags->output, "The file to write, instead of the terminal")
      ->type_name("JOB.yaml");
  command->add_flag("--force", flags->force, "Replace a file that is there");
  command->callback([flags, &context] { context.exit_code = init(*flags, context); });
}

}  // namespace megalaunch
