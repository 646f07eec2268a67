#include "launcher/results/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "launcher/results/report_page.h"

namespace megalaunch {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kPointsPerRun = 1000;

Json text_or_null(const std::string& text) {
  return text.empty() ? Json(nullptr) : Json(text);
}

template <class T>
Json value_or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

Json row_json(const RunSummary& row) {
  const RunRecord& r = row.record;
  return {{"name", r.name},
          {"model", text_or_null(r.model)},
          {"precision", text_or_null(r.precision)},
          {"gpus", value_or_null(r.gpus)},
          {"tp", value_or_null(r.tp)},
          {"pp", value_or_null(r.pp)},
          {"cp", value_or_null(r.cp)},
          {"mbs", value_or_null(r.mbs)},
          {"gbs", value_or_null(r.gbs)},
          {"seq", value_or_null(r.seq)},
          {"activations", text_or_null(r.activations)},
          {"virtual_stage_layers", value_or_null(r.virtual_stage_layers)},
          {"tflops_per_gpu", value_or_null(row.tflops_per_gpu)},
          {"mfu", value_or_null(row.mfu)},
          {"tokens_per_second_per_gpu", value_or_null(row.tokens_per_second_per_gpu)},
          {"ms_per_iteration", value_or_null(row.ms_per_iteration)},
          {"max_memory_mib", value_or_null(row.max_memory_mib)},
          {"outcome", text_or_null(r.outcome)},
          {"cause", text_or_null(r.cause)},
          {"flags", row.flags}};
}

std::string dump(const Json& json, int indent) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

/// Quoted where the form needs it.
std::string csv_cell(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == text.npos) return text;
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + '"';
}

/// In a table of Markdown a bar or a line break would end the cell.
std::string markdown_cell(std::string_view text) {
  std::string cell;
  for (const char c : text) {
    if (c == '|') cell += '\\';
    cell += c == '\n' || c == '\r' ? ' ' : c;
  }
  return cell;
}

template <class T>
std::string cell(const std::optional<T>& value) {
  return value ? fmt::format("{}", *value) : std::string();
}

std::string cell(const std::optional<double>& value, int digits, double factor = 1) {
  return value ? fmt::format("{:.{}f}", *value * factor, digits) : std::string();
}

/// What the table stands on, for a person.
std::string basis(const std::vector<RunSummary>& rows, const SummaryOptions& options) {
  std::set<std::string> cards;
  for (const RunSummary& row : rows) {
    const Card& card = card_of(row, options);
    const bool assumed = options.card == nullptr && find_card(row.record.card) == nullptr;
    const std::string fp8 =
        card.fp8_tflops > 0 ? fmt::format(", fp8 {:.1f}", card.fp8_tflops) : ", no fp8";
    cards.insert(fmt::format("{}{}: bf16 {:.1f}{} TFLOP/s ({})", card.name,
                             assumed ? " (assumed: no card is named)" : "", card.half_tflops, fp8,
                             card.source));
  }
  if (cards.empty()) return "No runs.";
  std::string text = "MFU is the share of the dense peak for the precision used. ";
  for (const std::string& card : cards) text += (card == *cards.begin() ? "" : "; ") + card;
  return text + ".";
}

std::string method(const SummaryOptions& options) {
  return fmt::format(
      "TFLOP/s and ms are medians without the first {} iterations after each start, ± half the "
      "distance "
      "of the quartiles.",
      options.warm_up);
}

Json finite_or_null(const std::optional<double>& value) {
  return value && std::isfinite(*value) ? Json(*value) : Json(nullptr);
}

Json series_json(const MeasuredRun& run) {
  Json iteration = Json::array();
  Json tflops = Json::array();
  Json loss = Json::array();
  const std::size_t step =
      std::max<std::size_t>(1, (run.iterations.size() + kPointsPerRun - 1) / kPointsPerRun);
  for (std::size_t i = 0; i < run.iterations.size(); i += step) {
    const IterationSample& values = run.iterations[i].values;
    iteration.push_back(values.iteration);
    tflops.push_back(finite_or_null(values.tflops_per_gpu));
    loss.push_back(finite_or_null(values.lm_loss));
  }
  return {{"iteration", iteration}, {"tflops", tflops}, {"loss", loss}};
}

void add_memory(Json& json, const MeasuredRun& run) {
  Json bars = Json::array();
  if (!run.gpu_memory_mib.empty()) {
    for (const auto& [gpu, mib] : run.gpu_memory_mib)
      bars.push_back({fmt::format("{}.{}", gpu.first, gpu.second), mib});
    json["memory_of"] = "node.GPU, as the driver counts";
  } else {
    for (const auto& [rank, mib] : run.rank_memory_mib)
      bars.push_back({fmt::format("{}", rank), mib});
    json["memory_of"] = "rank, as it printed";
  }
  json["memory"] = bars;
}

}  // namespace

std::string report_markdown(const std::vector<RunSummary>& rows, const SummaryOptions& options) {
  std::string text =
      "| run | model | precision | GPUs | seq | TP | PP | CP | MBS | GBS | activations | "
      "layers/v.stage | TFLOP/s/GPU | MFU % "
      "| tokens/s/GPU | ms/iteration | memory MiB | outcome | notes |\n"
      "|---|---|---|--:|--:|--:|--:|--:|--:|--:|---|--:|--:|--:|--:|--:|--:|---|---|\n";
  std::string notes;
  int number = 0;
  for (const RunSummary& row : rows) {
    const RunRecord& r = row.record;
    std::string marks;
    for (const std::string& flag : row.flags) {
      marks += fmt::format("{}[{}]", marks.empty() ? "" : " ", ++number);
      notes += fmt::format("[{}] {}: {}\n\n", number, r.name, flag);
    }
    std::string tflops = cell(row.tflops_per_gpu, 1);
    if (row.tflops_spread) tflops += fmt::format(" ±{:.1f}", *row.tflops_spread);
    const std::string outcome =
        r.cause.empty() ? r.outcome : fmt::format("{}: {}", r.outcome, r.cause);
    const std::string cells[] = {r.name,
                                 r.model,
                                 r.precision,
                                 cell(r.gpus),
                                 cell(r.seq),
                                 cell(r.tp),
                                 cell(r.pp),
                                 cell(r.cp),
                                 cell(r.mbs),
                                 cell(r.gbs),
                                 r.activations,
                                 cell(r.virtual_stage_layers),
                                 tflops,
                                 cell(row.mfu, 1, 100),
                                 cell(row.tokens_per_second_per_gpu, 0),
                                 cell(row.ms_per_iteration, 1),
                                 cell(row.max_memory_mib, 0),
                                 outcome,
                                 marks};
    text += '|';
    for (const std::string& one : cells) text += ' ' + markdown_cell(one) + " |";
    text += '\n';
  }
  return text + '\n' + basis(rows, options) + ' ' + method(options) + '\n' +
         (notes.empty() ? "" : '\n' + notes);
}

std::string report_csv(const std::vector<RunSummary>& rows) {
  std::string text;
  const Json columns = row_json(RunSummary{});
  for (const auto& [key, value] : columns.items()) text += (text.empty() ? "" : ",") + key;
  text += '\n';
  for (const RunSummary& row : rows) {
    std::string line;
    const Json cells = row_json(row);
    for (const auto& [key, value] : cells.items()) {
      if (key != "name") line += ',';
      if (value.is_array()) {
        std::string flags;
        for (const std::string& flag : row.flags) flags += (flags.empty() ? "" : "; ") + flag;
        line += csv_cell(flags);
      } else if (value.is_string()) {
        line += csv_cell(value.get<std::string>());
      } else if (!value.is_null()) {
        line += dump(value, -1);
      }
    }
    text += line + '\n';
  }
  return text;
}

std::string report_json(const std::vector<RunSummary>& rows) {
  Json runs = Json::array();
  for (const RunSummary& row : rows) runs.push_back(row_json(row));
  return dump({{"runs", runs}}, 2) + '\n';
}

std::string report_html(const std::vector<RunSummary>& rows, const SummaryOptions& options) {
  Json runs = Json::array();
  for (const RunSummary& row : rows) {
    Json run = row_json(row);
    run["tflops_spread"] = finite_or_null(row.tflops_spread);
    run["series"] = series_json(row.measured);
    add_memory(run, row.measured);
    runs.push_back(std::move(run));
  }
  std::string data =
      dump({{"runs", runs}, {"about", basis(rows, options)}, {"footer", method(options)}}, -1);
  for (std::size_t at = 0; (at = data.find('<', at)) != data.npos;) data.replace(at, 1, "\\u003c");
  std::string page(kReportPage);
  return page.replace(page.find(kReportPageData), kReportPageData.size(), data);
}

}  // namespace megalaunch
