#include "launcher/causes/log_directory.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

namespace megalaunch {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

std::optional<int> number(std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

std::optional<int> attempt_number(const fs::path& path) {
  const std::string name = path.filename().string();
  if (!name.starts_with("attempt_")) return std::nullopt;
  return number(std::string_view(name).substr(8));
}

bool is_rank_directory(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path / "stderr.log", ignored) ||
         fs::is_regular_file(path / "stdout.log", ignored);
}

bool is_log_name(const fs::path& path) {
  const std::string extension = path.extension().string();
  return extension == ".log" || extension == ".txt" || extension == ".out" || extension == ".err";
}

std::vector<fs::path> children(const fs::path& path) {
  std::vector<fs::path> found;
  std::error_code error;
  for (fs::directory_iterator it(path, error), end; !error && it != end; it.increment(error))
    found.push_back(it->path());
  std::sort(found.begin(), found.end());
  return found;
}

/// What our report.json says about the ranks of its attempt.
void apply_report(const fs::path& attempt, std::vector<RankDirectory>& ranks) {
  std::ifstream file(attempt / "report.json", std::ios::binary);
  if (!file) return;
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const Json report = Json::parse(text, nullptr, false);
  if (!report.is_object() || !report.contains("kind")) return;
  std::map<std::pair<int, int>, RankDirectory*> by_place;
  for (RankDirectory& rank : ranks) {
    by_place[{rank.evidence.node_rank, rank.evidence.local_rank}] = &rank;
    rank.evidence.stopped_by_us = true;  // unless it is in one of the lists
  }
  int order = 0;
  const auto apply = [&](const Json& one) {
    if (!one.is_object()) return;
    const auto whole = [&](const char* key) {
      const auto found = one.find(key);
      return found != one.end() && found->is_number_integer() ? found->get<int>() : -1;
    };
    const auto place = by_place.find({whole("node_rank"), whole("local_rank")});
    if (place == by_place.end()) return;
    RankDirectory& rank = *place->second;
    rank.evidence.stopped_by_us = false;
    rank.evidence.rank = whole("rank");
    rank.rank_known = rank.evidence.rank >= 0;
    rank.evidence.pid = whole("pid");
    if (const auto host = one.find("host"); host != one.end() && host->is_string())
      rank.evidence.host = host->get<std::string>();
    if (const auto end = one.find("end"); end != one.end())
      if (auto read = rank_end_from_json(*end)) rank.evidence.end = *read;
    rank.evidence.ended_at =
        WallTime(seconds(1) + milliseconds(order++));  // the report lists the first one first
  };
  apply(report.value("first", Json()));
  for (const char* list : {"alike", "victims"})
    if (const auto found = report.find(list); found != report.end() && found->is_array())
      for (const Json& one : *found) apply(one);
}

/// The rank directories of one attempt, in either layout.
std::vector<RankDirectory> ranks_of_attempt(const fs::path& attempt) {
  std::vector<RankDirectory> ranks;
  const auto add = [&](const fs::path& path, int node, int local) {
    RankDirectory rank;
    rank.path = path;
    rank.evidence.node_rank = node;
    rank.evidence.local_rank = local;
    ranks.push_back(std::move(rank));
  };
  for (const fs::path& child : children(attempt)) {
    const auto first = number(child.filename().string());
    if (!first) continue;
    if (is_rank_directory(child)) {
      add(child, 0, *first);
      continue;
    }
    for (const fs::path& inner : children(child))
      if (const auto second = number(inner.filename().string()); second && is_rank_directory(inner))
        add(inner, *first, *second);
  }
  apply_report(attempt, ranks);
  return ranks;
}

/// Directories with attempts in them, at most three levels down.
void find_runs(const fs::path& path, int depth, std::vector<fs::path>& runs) {
  const auto below = children(path);
  if (std::any_of(below.begin(), below.end(),
                  [](const fs::path& child) { return attempt_number(child).has_value(); })) {
    runs.push_back(path);
    return;
  }
  if (depth == 0) return;
  std::error_code ignored;
  for (const fs::path& child : below)
    if (fs::is_directory(child, ignored)) find_runs(child, depth - 1, runs);
}

bool is_ours(const std::vector<RankDirectory>& ranks) {
  return std::any_of(ranks.begin(), ranks.end(), [](const RankDirectory& rank) {
    return attempt_number(rank.path.parent_path().parent_path()).has_value();
  });
}

void find_files(const fs::path& path, int depth, std::vector<fs::path>& files) {
  constexpr size_t kMaxFiles = 20'000;
  std::error_code ignored;
  for (const fs::path& child : children(path)) {
    if (files.size() >= kMaxFiles) return;
    if (fs::is_regular_file(child, ignored) && is_log_name(child)) files.push_back(child);
    if (depth > 0 && fs::is_directory(child, ignored) && !fs::is_symlink(child, ignored))
      find_files(child, depth - 1, files);
  }
}

/// The last attempt of one run.
std::vector<RankDirectory> ranks_of_run(const fs::path& run, std::vector<std::string>& notes) {
  std::optional<int> last;
  for (const fs::path& child : children(run))
    if (const auto attempt = attempt_number(child); attempt && (!last || *attempt > *last))
      last = attempt;
  if (*last > 0)
    notes.push_back(
        fmt::format("{}: attempt {} is diagnosed, earlier ones are not", run.string(), *last));
  return ranks_of_attempt(run / fmt::format("attempt_{}", *last));
}

}  // namespace

Result<LogDirectory> find_logs(const fs::path& path) {
  LogDirectory found;
  std::error_code error;
  if (path == "-") {  // standard input
    found.files.push_back(path);
    return found;
  }
  if (!fs::exists(path, error))
    return fail(Error::Kind::kUsage,
                "{}: no such file or directory; give a log directory or log files", path.string());
  if (!fs::is_directory(path, error)) {
    found.files.push_back(path);
    return found;
  }
  if (is_rank_directory(path)) {
    RankDirectory rank;
    rank.path = path;
    rank.evidence.local_rank =
        number(fs::absolute(path).lexically_normal().filename().string()).value_or(0);
    found.ranks.push_back(std::move(rank));
    return found;
  }
  found.ranks = ranks_of_attempt(path);
  if (!found.ranks.empty()) return found;
  std::vector<fs::path> runs;
  find_runs(path, 3, runs);
  std::optional<fs::path> newest_of_ours;
  std::vector<RankDirectory> ours;
  for (const fs::path& run : runs) {
    auto ranks = ranks_of_run(run, found.notes);
    if (!is_ours(ranks)) {
      std::move(ranks.begin(), ranks.end(), std::back_inserter(found.ranks));
      continue;
    }
    const bool newer = !newest_of_ours || fs::last_write_time(run, error) >=
                                              fs::last_write_time(*newest_of_ours, error);
    if (newest_of_ours)
      found.notes.push_back(fmt::format("{}: not looked at, there is a newer run",
                                        (newer ? *newest_of_ours : run).string()));
    if (!newer) continue;
    newest_of_ours = run;
    ours = std::move(ranks);
  }
  std::move(ours.begin(), ours.end(), std::back_inserter(found.ranks));
  if (!found.ranks.empty()) return found;
  find_files(path, 6, found.files);
  if (found.files.empty())
    return fail(
        Error::Kind::kUsage,
        "{}: no logs below it (looked for stdout.log, stderr.log, *.log, *.txt, *.out, *.err)",
        path.string());
  return found;
}

}  // namespace megalaunch
