#include "launcher/results/measured_table.h"

#include <fmt/format.h>

#include <charconv>
#include <fstream>
#include <iterator>
#include <map>
#include <string>

#include "env/ascii.h"

namespace megalaunch {
namespace {

/// One record of a comma-separated text.
struct Row {
  int line = 0;  ///< where it starts, from 1
  std::vector<std::string> cells;
};

/// Splits by RFC 4180. A quote that never closes takes the rest of the text.
std::vector<Row> split(std::string_view text) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  std::vector<Row> rows;
  Row row{1, {""}};
  bool quoted = false;
  int line = 1;
  const auto end_row = [&] {
    if (row.cells.size() > 1 || !row.cells[0].empty()) rows.push_back(std::move(row));
    row = {line, {""}};
  };
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\n') ++line;
    if (quoted) {
      if (c != '"') {
        row.cells.back() += c;
      } else if (i + 1 < text.size() && text[i + 1] == '"') {
        row.cells.back() += text[++i];
      } else {
        quoted = false;
      }
    } else if (c == '"') {
      quoted = true;
    } else if (c == ',') {
      row.cells.emplace_back();
    } else if (c == '\n') {
      end_row();
    } else if (c != '\r') {
      row.cells.back() += c;
    }
  }
  end_row();
  return rows;
}

std::string trimmed(std::string_view text) {
  const std::size_t start = text.find_first_not_of(" \t");
  if (start == text.npos) return {};
  return std::string(text.substr(start, text.find_last_not_of(" \t") - start + 1));
}

std::string column_name(const std::string& cell) {
  static const std::map<std::string, std::string> kOtherNames{{"activations", "ac"},
                                                              {"virtual_stage_layers", "vpp"},
                                                              {"tflops_per_gpu", "tflops"},
                                                              {"ms_per_iteration", "elapsed_ms"},
                                                              {"max_memory_mib", "memory_mib"},
                                                              {"cause", "error"}};
  const std::string name = ascii_lower(trimmed(cell));
  const auto other = kOtherNames.find(name);
  return other == kOtherNames.end() ? name : other->second;
}

/// Reads cells by column name and keeps the first complaint.
class Cells {
 public:
  Cells(const std::map<std::string, std::size_t>& columns, const Row& row)
      : columns_(columns), row_(row) {}

  std::string text(const std::string& column) const {
    const auto found = columns_.find(column);
    if (found == columns_.end() || found->second >= row_.cells.size()) return {};
    return trimmed(row_.cells[found->second]);
  }

  template <class Number>
  void read(const std::string& column, std::optional<Number>& value) {
    const std::string cell = text(column);
    if (cell.empty()) return;
    Number number{};
    const auto [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), number);
    if (error == std::errc{} && end == cell.data() + cell.size())
      value = number;
    else if (complaint_.empty())
      complaint_ =
          fmt::format("line {}: column '{}': '{}' is not a number", row_.line, column, cell);
  }

  const std::string& complaint() const { return complaint_; }

 private:
  const std::map<std::string, std::size_t>& columns_;
  const Row& row_;
  std::string complaint_;
};

/// "qwen2.5-14B fp8 tp2 pp2 cp1 none vpp 3": what tells the rows of such a table apart.
std::string name_of(const RunRecord& record, const std::string& activations_as_written) {
  std::string name = record.model;
  const auto add = [&](std::string_view what, const auto& value) {
    if (value) name += fmt::format(" {}{}", what, *value);
  };
  if (!record.precision.empty()) name += ' ' + record.precision;
  add("tp", record.tp);
  add("pp", record.pp);
  add("cp", record.cp);
  if (record.mbs.value_or(1) != 1) add("mbs", record.mbs);
  if (!activations_as_written.empty() && activations_as_written != "false")
    name += ' ' + activations_as_written;
  add("vpp ", record.virtual_stage_layers);
  return name;
}

Result<RunSummary> to_summary(Cells cells) {
  RunSummary summary;
  RunRecord& record = summary.record;
  record.model = cells.text("model");
  record.precision = ascii_lower(cells.text("precision"));
  const std::string activations = cells.text("ac");
  record.activations = activations_word(activations);
  record.outcome = cells.text("outcome");
  record.cause = cells.text("error");
  cells.read("nodes", record.nodes);
  cells.read("gpus", record.gpus);
  cells.read("tp", record.tp);
  cells.read("pp", record.pp);
  cells.read("cp", record.cp);
  cells.read("mbs", record.mbs);
  cells.read("gbs", record.gbs);
  cells.read("seq", record.seq);
  cells.read("vpp", record.virtual_stage_layers);
  cells.read("tflops", summary.tflops_per_gpu);
  cells.read("elapsed_ms", summary.ms_per_iteration);
  cells.read("memory_mib", summary.max_memory_mib);
  record.name = cells.text("name");
  if (record.name.empty()) record.name = name_of(record, activations);
  if (!cells.complaint().empty()) return fail(Error::Kind::kUsage, "{}", cells.complaint());
  return summary;
}

}  // namespace

Result<std::vector<RunSummary>> parse_measured_table(std::string_view text) {
  const auto rows = split(text);
  if (rows.empty())
    return fail(Error::Kind::kUsage, "the table is empty; its first line must name the columns");
  std::map<std::string, std::size_t> columns;
  for (std::size_t i = 0; i < rows[0].cells.size(); ++i)
    columns.try_emplace(column_name(rows[0].cells[i]), i);
  if (!columns.contains("model"))
    return fail(Error::Kind::kUsage,
                "line 1: no column 'model'; the first line must name the columns");
  std::vector<RunSummary> summaries;
  for (std::size_t i = 1; i < rows.size(); ++i) {
    auto summary = to_summary(Cells(columns, rows[i]));
    if (!summary) return fail(std::move(summary).error());
    summaries.push_back(std::move(*summary));
  }
  return summaries;
}

Result<std::vector<RunSummary>> read_measured_table(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file)
    return fail(Error::Kind::kUsage, "read the table {}: no such file, or not readable",
                path.string());
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  auto table = parse_measured_table(text);
  if (!table) return fail(std::move(table).error().within(path.string()));
  return table;
}

}  // namespace megalaunch
