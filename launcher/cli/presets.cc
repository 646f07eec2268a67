#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "env/exit_code.h"
#include "launcher/cli/command.h"
#include "launcher/megatron/preset.h"
#include "launcher/megatron/script.h"

namespace megalaunch {
namespace {

using nlohmann::ordered_json;

void print_table() {
  fmt::print("{:<14} {:>12} {:>7} {:>7} {:>6} {:>7} {:>7} {:>10} {:>11}\n", "model", "parameters",
             "layers", "hidden", "heads", "ffn", "groups", "positions", "vocabulary");
  for (const ModelPreset& m : built_in_presets()) {
    if (m.layers == 0) {
      fmt::print("{:<14} sizes come from the job file (megatron.sizes)\n", m.name);
      continue;
    }
    fmt::print("{:<14} {:>10.3f} B {:>7} {:>7} {:>6} {:>7} {:>7} {:>10} {:>11}\n", m.name,
               static_cast<double>(m.parameters()) / 1e9, m.layers, m.hidden, m.heads, m.ffn,
               m.query_groups, m.max_positions, m.vocabulary);
  }
}

void print_json() {
  ordered_json array = ordered_json::array();
  for (const ModelPreset& m : built_in_presets())
    array.push_back({{"name", m.name},
                     {"parameters", m.parameters()},
                     {"layers", m.layers},
                     {"hidden", m.hidden},
                     {"heads", m.heads},
                     {"ffn", m.ffn},
                     {"query_groups", m.query_groups},
                     {"max_positions", m.max_positions},
                     {"vocabulary", m.vocabulary}});
  fmt::print("{}\n", array.dump(2));
}

std::string help() {
  std::string scripts;
  for (const ScriptVariant& script : script_variants())
    scripts += fmt::format("\n  {}", script.name);
  return "A preset of your own is a YAML file with the same keys (see configs/models); name it by "
         "its path:\n\n"
         "  megatron: {model: presets/mine.yaml}\n\nScripts that `megatron.script` reproduces:\n" +
         scripts;
}

}  // namespace

void add_presets_command(CLI::App& app, CommandContext& context) {
  auto json = std::make_shared<bool>(false);
  CLI::App* command =
      app.add_subcommand("presets", "List the models with their sizes and parameter counts");
  command->footer(help());
  command->add_flag("--json", *json, "Print a JSON array");
  command->callback([json, &context] {
    *json ? print_json() : print_table();
    context.exit_code = kExitSuccess;
  });
}

}  // namespace megalaunch
