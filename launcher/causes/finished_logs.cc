#include "launcher/causes/finished_logs.h"

#include <fcntl.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <map>
#include <set>

#include "env/unique_fd.h"
#include "launcher/causes/json_lines.h"
#include "launcher/causes/log_directory.h"
#include "launcher/causes/log_lines.h"
#include "launcher/causes/rank_finding.h"
#include "launcher/causes/rank_numbers.h"
#include "launcher/causes/torchrun_blame.h"
#include "launcher/causes/torchrun_report.h"
#include "launcher/causes/wrapped_lines.h"

namespace megalaunch {
namespace {

namespace fs = std::filesystem;

/// The end of a file, with the number of lines before it.
struct FileText {
  std::string text;
  size_t lines_before = 0;
  uint64_t bytes_before = 0;
};

/// Where the text of a log begins: behind the hole that a cap may have left (RankLog).
uint64_t begin_of_data(const fs::path& path) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  const off_t begin = file ? ::lseek(file.get(), 0, SEEK_DATA) : 0;
  return begin > 0 ? static_cast<uint64_t>(begin) : 0;
}

Result<FileText> read_end(const fs::path& path) {
  std::ifstream file(path == "-" ? fs::path("/dev/stdin") : path, std::ios::binary);
  if (!file) return errno_error(errno, fmt::format("read log {}", path.string()));
  if (const uint64_t hole = begin_of_data(path); hole > 0)
    file.seekg(static_cast<std::streamoff>(hole));
  FileText result;
  std::string piece(1 << 20, '\0');
  // From a file or a pipe alike: what is too much is dropped at the front, in large pieces.
  const auto keep = [&](size_t size) {
    if (result.text.size() <= size) return;
    const auto cut = static_cast<std::ptrdiff_t>(result.text.size() - size);
    result.lines_before +=
        static_cast<size_t>(std::count(result.text.begin(), result.text.begin() + cut, '\n'));
    result.bytes_before += static_cast<uint64_t>(cut);
    result.text.erase(0, static_cast<size_t>(cut));
  };
  while (file.read(piece.data(), static_cast<std::streamsize>(piece.size())).gcount() > 0) {
    result.text.append(piece, 0, static_cast<size_t>(file.gcount()));
    if (result.text.size() >= 2 * kMaxLog) keep(kMaxLog);
  }
  keep(kMaxLog);
  return result;
}

constexpr std::string_view kEmpty = ": is empty";

/// Why a file cannot be read as a log; empty: it can.
std::string_view unreadable(std::string_view text) {
  using namespace std::string_view_literals;
  if (text.empty()) return kEmpty;
  for (const std::string_view magic : {"\x1f\x8b"sv, "\x28\xb5\x2f\xfd"sv,
                                       "\xfd"
                                       "7zXZ\0"sv,
                                       "BZh9"sv, "PK\x03\x04"sv})
    if (text.starts_with(magic))
      return ": is compressed; unpack it first, or pipe it in: zcat FILE | megalaunch diagnose -";
  const std::string_view start = text.substr(0, 64 * 1024);
  const auto strange = std::count_if(start.begin(), start.end(), [](char c) {
    return static_cast<unsigned char>(c) < ' ' &&
           "\t\n\v\f\r\b\x1b"sv.find(c) == std::string_view::npos;
  });
  // A log may hold a stray byte; a program or UTF-16 holds many.
  if (static_cast<size_t>(strange) * 20 > start.size()) return ": is not text in ASCII or UTF-8";
  return {};
}

WallTime written_at(const fs::path& path) {
  std::error_code error;
  const auto time = fs::last_write_time(path, error);
  if (error) return {};
  return std::chrono::time_point_cast<WallTime::duration>(std::chrono::file_clock::to_sys(time));
}

/// "rank3.log", "stderr_rank-3.txt": 3.
std::optional<int> rank_in_name(const fs::path& path) {
  const std::string name = path.filename().string();
  const size_t at = name.find("rank");
  if (at == name.npos) return std::nullopt;
  size_t digits = at + 4;
  while (digits < name.size() &&
         (name[digits] == '_' || name[digits] == '-' || name[digits] == '.'))
    ++digits;
  int rank = 0;
  if (std::from_chars(name.data() + digits, name.data() + name.size(), rank).ec != std::errc() ||
      rank < 0)
    return std::nullopt;
  return rank;
}

/// torch's "[default4]:[rank20]: x" tells which rank a local rank is; other lines of that rank only
/// have "[default4]:".
void complete_labels(std::vector<LogLine>& lines) {
  std::map<std::pair<std::string, int>, std::set<int>> ranks;
  for (const LogLine& line : lines)
    if (line.label.rank && line.label.local_rank)
      ranks[{line.label.node, *line.label.local_rank}].insert(*line.label.rank);
  for (LogLine& line : lines) {
    if (!line.label.local_rank) continue;
    const auto known = ranks.find({line.label.node, *line.label.local_rank});
    if (known == ranks.end() || known->second.size() != 1) continue;
    line.label.rank = *known->second.begin();
  }
  // A global rank alone is a label; with it the local one tells nothing more.
  for (LogLine& line : lines)
    if (line.label.rank) line.label.local_rank.reset();
}

struct LabelOrder {
  bool operator()(const LineLabel& a, const LineLabel& b) const {
    return std::tie(a.node, a.rank, a.local_rank) < std::tie(b.node, b.rank, b.local_rank);
  }
};

/// torch gives a prefix to what a rank raises and to nothing else it says. So what was merely said
/// without one was survived when a rank raises a cause behind it.
void forget_what_was_survived(const std::vector<LineLabel>& labels,
                              std::vector<LoggedRank>& ranks) {
  const auto unlabelled = std::find_if(labels.begin(), labels.end(),
                                       [](const LineLabel& label) { return label.empty(); });
  if (unlabelled == labels.end()) return;
  Finding& said = ranks[static_cast<size_t>(unlabelled - labels.begin())].finding;
  if (said.exception || !is_chatty(said.kind)) return;
  const bool survived = std::any_of(ranks.begin(), ranks.end(), [&](const LoggedRank& rank) {
    const Finding& raised = rank.finding;
    return raised.exception && !raised.victim && raised.rule != nullptr &&
           raised.rule != said.rule && !raised.rule->exceptions && raised.line > said.line;
  });
  if (survived) said = {};
}

}  // namespace

std::vector<LoggedRank> read_log_text(std::string_view text, const fs::path& path, WallTime written,
                                      const CauseRules& rules) {
  std::vector<LogLine> lines = split_log(text);
  complete_labels(lines);
  const auto report = find_torchrun_report(lines);
  std::map<LineLabel, std::vector<LogLine>, LabelOrder> by_label;
  for (const LogLine& line : lines) by_label[line.label].push_back(line);
  std::vector<LoggedRank> ranks;
  std::vector<LineLabel> labels;
  for (const auto& [label, own] : by_label) {
    LoggedRank rank;
    rank.path = path;
    rank.finding = find_cause(own, rules);
    rank.evidence.rank = label.rank ? *label.rank : label.local_rank.value_or(0);
    rank.evidence.local_rank = label.local_rank.value_or(0);
    rank.evidence.host = label.node;
    rank.rank_known = label.rank || label.local_rank;
    if (rank.finding.rank && !rank.rank_known) {
      rank.evidence.rank = *rank.finding.rank;
      rank.rank_known = true;
    }
    rank.evidence.ended_at = written + std::chrono::microseconds(rank.finding.line);
    ranks.push_back(std::move(rank));
    labels.push_back(label);
  }
  forget_what_was_survived(labels, ranks);
  apply_torchruns_blame(report, path, written, rules, labels, ranks);
  name_by_the_same_cause(labels, ranks);
  return ranks;
}

namespace {

/// The files of one rank's directory, as one rank.
Result<LoggedRank> read_rank_directory(const RankDirectory& directory, const CauseRules& rules) {
  LoggedRank rank;
  rank.from_directory = true;
  rank.evidence = directory.evidence;
  rank.rank_known = directory.rank_known;
  rank.path = directory.path / "stderr.log";
  WallTime written{};
  bool progress = false;
  std::error_code ignored;
  if (fs::is_regular_file(directory.path / "error.json", ignored)) {
    auto file = read_end(directory.path / "error.json");
    if (!file) return fail(std::move(file).error());
    if (auto parsed = parse_error_file(file->text)) rank.evidence.error_file = *std::move(parsed);
  }
  rank.finding = find_cause(rank.evidence, rules);
  if (rank.finding.source == Finding::Source::kErrorFile) rank.path = directory.path / "error.json";
  // A log with a cap has older parts; what happened first may be in the newest of them.
  for (const char* name : {"stderr.log.1", "stderr.log", "stdout.log.1", "stdout.log"}) {
    const fs::path path = directory.path / name;
    if (!fs::is_regular_file(path, ignored)) continue;
    auto file = read_end(path);
    if (!file) return fail(std::move(file).error());
    written = std::max(written, written_at(path));
    auto lines = split_log(file->text);
    // All lines are this rank's, whatever their prefixes say; but a prefix knows its global number.
    for (LogLine& line : lines) {
      if (line.label.rank && !rank.rank_known) {
        rank.evidence.rank = *line.label.rank;
        rank.rank_known = true;
      }
      line.label = {};
      line.number += file->lines_before;
    }
    Finding finding = find_cause(lines, rules);
    progress = progress || finding.made_progress;
    if (!stronger(finding, rank.finding, rules)) continue;
    rank.finding = std::move(finding);
    rank.path = path;
  }
  rank.finding.made_progress = progress;
  if (!rank.rank_known) rank.evidence.rank = rank.evidence.local_rank;
  rank.ordered = rank.evidence.ended_at != WallTime{};
  if (!rank.ordered) rank.evidence.ended_at = written;
  return rank;
}

/// Between files there is only the time of their last write, which copying changes. Within one file
/// the order of lines is time, so a single file stays as it is.
void blur_file_times(std::vector<LoggedRank>& ranks) {
  std::set<fs::path> places;
  for (const LoggedRank& rank : ranks)
    places.insert(rank.from_directory ? rank.path.parent_path() : rank.path);
  if (places.size() < 2) return;
  for (LoggedRank& rank : ranks)
    if (!rank.ordered) rank.evidence.clock_uncertainty = seconds(2);
}

Status read_loose_file(const fs::path& path, const CauseRules& rules, Diagnosis& diagnosis) {
  auto file = read_end(path);
  if (!file) return fail(std::move(file).error());
  if (const std::string_view why = unreadable(file->text); !why.empty()) {
    diagnosis.notes.push_back(fmt::format("{}{}", path.string(), why));
    return {};
  }
  if (file->bytes_before > 0)
    diagnosis.notes.push_back(fmt::format("{}: the last {} MiB were read, {} MiB before them not",
                                          path.string(), kMaxLog >> 20, file->bytes_before >> 20));
  if (auto text = unwrap_json_lines(file->text)) file->text = *std::move(text);
  if (auto text = join_wrapped_lines(file->text)) file->text = *std::move(text);
  auto found = read_log_text(file->text, path, written_at(path), rules);
  const auto named = rank_in_name(path);
  for (LoggedRank& rank : found) {
    if (rank.finding.line != 0) rank.finding.line += file->lines_before;
    if (!rank.rank_known && named) {
      rank.evidence.rank = *named;
      rank.rank_known = true;
    }
    diagnosis.ranks.push_back(std::move(rank));
  }
  return {};
}

}  // namespace

Result<Diagnosis> diagnose(const std::vector<fs::path>& paths, const CauseRules& rules) {
  Diagnosis diagnosis;
  for (const fs::path& path : paths) {
    auto found = find_logs(path);
    if (!found) return fail(std::move(found).error());
    for (const RankDirectory& directory : found->ranks) {
      auto rank = read_rank_directory(directory, rules);
      if (!rank) return fail(std::move(rank).error());
      diagnosis.ranks.push_back(*std::move(rank));
    }
    for (const fs::path& file : found->files)
      if (auto read = read_loose_file(file, rules, diagnosis); !read)
        return fail(std::move(read).error());
    for (std::string& note : found->notes) diagnosis.notes.push_back(std::move(note));
  }
  if (diagnosis.ranks.empty() && !diagnosis.notes.empty())
    return fail(Error::Kind::kUsage, "nothing to diagnose: {}", fmt::join(diagnosis.notes, "; "));
  std::erase_if(diagnosis.notes, [](const std::string& note) { return note.ends_with(kEmpty); });
  name_ranks_of_one_run(diagnosis.ranks);
  add_accused_ranks(diagnosis.ranks);
  blur_file_times(diagnosis.ranks);
  std::vector<Evidence> evidence;
  std::vector<Finding> findings;
  for (LoggedRank& rank : diagnosis.ranks) {
    // Nobody wrote down that it failed, and it does not say so: it was stopped, or ended well.
    if (silent(rank)) rank.evidence.stopped_by_us = true;
    evidence.push_back(rank.evidence);
    findings.push_back(rank.finding);
  }
  diagnosis.verdict = decide(evidence, std::move(findings), rules);
  if (const auto first = diagnosis.verdict.first)
    diagnosis.ranks[*first].finding = diagnosis.verdict.findings[*first];
  return diagnosis;
}

}  // namespace megalaunch
