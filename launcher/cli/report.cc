#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <CLI/Validators.hpp>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>

#include "env/exit_code.h"
#include "launcher/causes/cause_rules.h"
#include "launcher/causes/finding.h"
#include "launcher/causes/finished_logs.h"
#include "launcher/causes/log_lines.h"
#include "launcher/cli/command.h"
#include "launcher/results/card.h"
#include "launcher/results/log_files.h"
#include "launcher/results/measured_run.h"
#include "launcher/results/measured_table.h"
#include "launcher/results/report.h"
#include "launcher/results/run_summary.h"

namespace megalaunch {
namespace {

struct Flags {
  std::vector<std::string> paths;
  std::vector<std::string> tables;
  std::string format = "md";
  std::string output;
  std::string card;
  SummaryOptions summary;
};

constexpr const char* kOutOfMemory = "oom";  // an outcome of its own in the tables that people make

/// In place of the error text that a table's author wrote down: the kind of cause that it shows,
/// where the rules know it.
void name_cause(RunRecord& record, const CauseRules& rules) {
  if (record.outcome == kOutOfMemory && record.cause.empty())
    record.cause = to_string(CauseKind::kOutOfMemory);
  if (record.cause.empty() || parse_cause_kind(record.cause)) return;
  const Finding finding = find_cause(split_log(record.cause), rules);
  if (finding.kind != CauseKind::kUnknown) record.cause = to_string(finding.kind);
}

/// The cause in the logs of a run that nobody recorded and that did not come to its end.
void find_cause_in_logs(RunRecord& record, const RunFiles& files, const CauseRules& rules) {
  if (!files.record_directory.empty() || files.logs.empty() || record.outcome == "ok") return;
  const auto diagnosis = diagnose(files.logs, rules);
  if (!diagnosis || diagnosis->verdict.kind == CauseKind::kUnknown) return;
  if (record.outcome.empty()) {
    if (!diagnosis->verdict.certain) return;  // it may still run
    record.outcome = diagnosis->verdict.kind == CauseKind::kOutOfMemory ? kOutOfMemory : "error";
  }
  record.cause = to_string(diagnosis->verdict.kind);
}

Status add_table(const std::string& path, const Flags& flags, const CauseRules& rules,
                 std::vector<RunSummary>& rows) {
  auto table = read_measured_table(path);
  if (!table) return fail(std::move(table).error());
  for (RunSummary& row : *table) {
    name_cause(row.record, rules);
    derive(row, flags.summary);
    rows.push_back(std::move(row));
  }
  return {};
}

/// A run that cannot be read is a warning: the others still make a table.
Status add_runs(const std::string& path, const Flags& flags, const CauseRules& rules,
                const Log& log, std::vector<RunSummary>& rows) {
  const auto runs = find_runs(path);
  if (!runs) return fail(runs.error());
  if (runs->empty() && std::filesystem::is_directory(path))
    log.warn("{}: no run.json and no logs below it", path);
  for (const RunFiles& files : *runs) {
    auto run = read_measured_run(files);
    if (!run) {
      log.warn("left out: {}", run.error().message);
      continue;
    }
    find_cause_in_logs(run->record, files, rules);
    rows.push_back(summarize(std::move(*run), flags.summary));
  }
  return {};
}

/// Several runs of one job have one name; their directories' names tell them apart.
void tell_apart(std::vector<RunSummary>& rows) {
  std::map<std::string, int> count;
  for (const RunSummary& row : rows) ++count[row.record.name];
  for (RunSummary& row : rows)
    if (count[row.record.name] > 1 && !row.record.run_id.empty())
      row.record.name = row.record.run_id;
}

/// The rows of everything the command line names.
Result<std::vector<RunSummary>> collect(const Flags& flags, const Log& log) {
  const CauseRules rules = CauseRules::built_in();
  std::vector<RunSummary> rows;
  for (const std::string& path : flags.tables)
    if (auto added = add_table(path, flags, rules, rows); !added)
      return fail(std::move(added).error());
  for (const std::string& path : flags.paths)
    if (auto added = add_runs(path, flags, rules, log, rows); !added)
      return fail(std::move(added).error());
  tell_apart(rows);
  return rows;
}

std::string format_rows(const std::vector<RunSummary>& rows, const Flags& flags) {
  if (flags.format == "json") return report_json(rows);
  if (flags.format == "csv") return report_csv(rows);
  if (flags.format == "html") return report_html(rows, flags.summary);
  return report_markdown(rows, flags.summary);
}

Status write_out(const std::string& text, const std::string& path) {
  if (path.empty() || path == "-") {
    std::cout << text << std::flush;
    return std::cout ? Status{}
                     : Status(fail(Error::Kind::kSystem,
                                   "write the report to standard output: it is closed"));
  }
  std::ofstream file(path, std::ios::binary);
  file << text << std::flush;
  return file ? Status{}
              : Status(fail(Error::Kind::kSystem,
                            "write {}: check the directory and its free space", path));
}

int report(Flags& flags, const Log& log) {
  if (flags.paths.empty() && flags.tables.empty())
    return exit_with(
        {Error::Kind::kUsage, 0, "report needs a log directory, a log file or --from TABLE.csv"},
        log);
  if (!flags.card.empty()) flags.summary.card = find_card(flags.card);
  if (!flags.card.empty() && flags.summary.card == nullptr)
    return exit_with({Error::Kind::kUsage, 0,
                      fmt::format("--card {}: unknown; known are {}", flags.card, known_cards())},
                     log);
  const auto rows = collect(flags, log);
  if (!rows) return exit_with(rows.error(), log);
  const auto written = write_out(format_rows(*rows, flags), flags.output);
  return written ? static_cast<int>(kExitSuccess) : exit_with(written.error(), log);
}

}  // namespace

void add_report_command(CLI::App& app, CommandContext& context) {
  CLI::App* command = app.add_subcommand(
      "report", "Print the table of finished runs: throughput, MFU, memory, outcome.");
  const auto flags = std::make_shared<Flags>();
  command->add_option(
      "path", flags->paths,
      "log directories (of megalaunch or torchrun, searched below) or single log files");
  command
      ->add_option("--from", flags->tables,
                   "a hand-made table of results as CSV; may be given several times")
      ->allow_extra_args(false);
  command->add_option("--format", flags->format, "md, csv, json or html")
      ->check(CLI::IsMember({"md", "csv", "json", "html"}))
      ->capture_default_str();
  command->add_option("--output,-o", flags->output, "write to this file, not to standard output");
  command->add_option("--card", flags->card,
                      "the GPU whose peak MFU is of; default: what the run says, else H100");
  command
      ->add_option("--warm-up", flags->summary.warm_up,
                   "iterations after each start that do not count")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command
      ->add_option("--min-iterations", flags->summary.min_iterations,
                   "flag runs in which fewer count")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->callback([flags, &context] { context.exit_code = report(*flags, context.log); });
}

}  // namespace megalaunch
