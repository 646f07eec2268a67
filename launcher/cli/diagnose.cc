#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "env/exit_code.h"
#include "launcher/causes/finished_logs.h"
#include "launcher/causes/restart_policy.h"
#include "launcher/cli/command.h"
#include "launcher/cli/rules_file.h"

namespace megalaunch {
namespace {

using Json = nlohmann::json;

struct DiagnoseOptions {
  std::vector<std::string> paths;
  std::string rules;
  bool json = false;
};

Json place_json(const LoggedRank& rank) {
  Json json{{"path", rank.path.string()},
            {"rank", nullptr},
            {"line", nullptr},
            {"text", valid_utf8(rank.finding.text)}};
  if (rank.rank_known) json["rank"] = rank.evidence.rank;
  if (rank.finding.line != 0) json["line"] = rank.finding.line;
  return json;
}

Json to_json(const Diagnosis& diagnosis) {
  const Verdict& verdict = diagnosis.verdict;
  Json json{{"kind", to_string(verdict.kind)},
            {"rule", verdict.rule},
            {"retry", worth_retrying(verdict)},
            {"certain", verdict.certain},
            {"advice", verdict.advice},
            {"first", nullptr},
            {"lines", Json::array()},
            {"victims", Json::array()},
            {"notes", Json::array()}};
  if (verdict.first) json["first"] = place_json(diagnosis.ranks[*verdict.first]);
  for (const std::string& line : verdict.lines) json["lines"].push_back(valid_utf8(line));
  for (const std::string& note : diagnosis.notes) json["notes"].push_back(valid_utf8(note));
  for (const size_t victim : verdict.victims)
    json["victims"].push_back(place_json(diagnosis.ranks[victim]));
  return json;
}

std::string name_of(const LoggedRank& rank) {
  std::string name = rank.rank_known ? fmt::format("rank {}, ", rank.evidence.rank) : std::string();
  if (!rank.evidence.host.empty()) name += fmt::format("host {}, ", rank.evidence.host);
  name += rank.path.string();
  if (rank.finding.line != 0) name += fmt::format(":{}", rank.finding.line);
  return name;
}

std::string to_text(const Diagnosis& diagnosis) {
  const Verdict& verdict = diagnosis.verdict;
  std::string text;
  for (const std::string& note : diagnosis.notes) text += fmt::format("Note:    {}\n", note);
  if (!verdict.first) return text + "No failure found in these logs.\n";
  const LoggedRank& first = diagnosis.ranks[*verdict.first];
  text += fmt::format("First:   {}\n", name_of(first));
  text += fmt::format("Why:     {}{}{}\n         {}\n", to_string(verdict.kind),
                      verdict.rule.empty() ? "" : fmt::format(" (rule {})", verdict.rule),
                      verdict.certain ? "" : ", not certain", valid_utf8(verdict.text));
  if (!verdict.lines.empty()) text += "Lines:\n";
  for (const std::string& line : verdict.lines) text += fmt::format("  | {}\n", valid_utf8(line));
  if (!verdict.alike.empty())
    text += fmt::format("Alike:   {} more failed of the same\n", verdict.alike.size());
  if (!verdict.victims.empty()) text += fmt::format("Victims: {}\n", verdict.victims.size());
  for (size_t i = 0; i < verdict.victims.size() && i < 8; ++i) {
    const LoggedRank& victim = diagnosis.ranks[verdict.victims[i]];
    text +=
        fmt::format("  {}: {}\n", name_of(victim), valid_utf8(victim.finding.text).substr(0, 200));
  }
  text += fmt::format("Retry:   {}\n", worth_retrying(verdict) ? "can help" : "does not help");
  if (!verdict.advice.empty()) text += fmt::format("Advice:  {}\n", verdict.advice);
  return text;
}

int run_diagnose(const DiagnoseOptions& options, const Log& log) {
  const auto rules = rules_with_file(options.rules);
  if (!rules) return exit_with(rules.error(), log);
  const auto diagnosis = diagnose({options.paths.begin(), options.paths.end()}, *rules);
  if (!diagnosis) return exit_with(diagnosis.error(), log);
  const std::string text = options.json ? to_json(*diagnosis).dump(2) + '\n' : to_text(*diagnosis);
  std::fwrite(text.data(), 1, text.size(), stdout);
  return kExitSuccess;
}

}  // namespace

void add_diagnose_command(CLI::App& app, CommandContext& context) {
  auto options = std::make_shared<DiagnoseOptions>();
  CLI::App* command = app.add_subcommand(
      "diagnose",
      "Says why a run failed, from its log directory (ours or torchrun's) or from log files.");
  command
      ->add_option("paths", options->paths,
                   "Log directories or files, or - for standard input; order does not matter")
      ->required();
  command->add_option("--rules", options->rules,
                      "A table of causes on top of the built-in one (see docs/causes.md)");
  command->add_flag("--json", options->json, "One JSON object instead of text for a person");
  command->callback(
      [options, &context] { context.exit_code = run_diagnose(*options, context.log); });
}

}  // namespace megalaunch
