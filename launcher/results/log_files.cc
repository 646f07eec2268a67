#include "launcher/results/log_files.h"

#include <algorithm>
#include <charconv>
#include <ctime>
#include <map>
#include <optional>
#include <set>
#include <tuple>

namespace megalaunch {
namespace {

namespace fs = std::filesystem;

constexpr int kMaxDepth = 6;
constexpr std::size_t kMaxFiles = 100'000;
constexpr std::time_t kSameStart = 120;  // seconds between the clocks of nodes that start one run

/// N of "stdout.log.N", an older part of a log with a cap; 0 for other files.
int part_number(const fs::path& path) {
  const std::string extension = path.extension().string();
  int number = 0;
  if (path.stem().extension() == ".log" && extension.size() > 1)
    std::from_chars(extension.data() + 1, extension.data() + extension.size(), number);
  return number;
}

bool is_log(const fs::path& path) {
  static const std::set<std::string> kExtensions{".log", ".txt", ".out", ".output", ".err", ""};
  const std::string extension = path.extension().string();
  return kExtensions.contains(extension) || part_number(path) > 0;
}

constexpr std::size_t kTimeLength = 15;

/// Seconds of the last "20241107T162721" in `text`, and where it stands.
struct StartTime {
  std::time_t at;
  std::size_t position;
};
std::optional<StartTime> find_start_time(const std::string& text) {
  for (std::size_t t = text.rfind('T'); t != text.npos && t >= 8; t = text.rfind('T', t - 1)) {
    if (t + 7 > text.size()) continue;
    const std::string stamp = text.substr(t - 8, kTimeLength);
    std::tm utc{};
    const char* end = ::strptime(stamp.c_str(), "%Y%m%dT%H%M%S", &utc);
    if (end != nullptr && *end == '\0') return StartTime{::timegm(&utc), t - 8};
  }
  return std::nullopt;
}

std::string cut_trailing(std::string text, std::string_view characters) {
  text.resize(text.find_last_not_of(characters) + 1);
  return text;
}

/// What stands before the time without the node's number: "logs/training-log-3." and "logs/" are of
/// one place.
std::string place_of(const std::string& text, const StartTime& start) {
  return fs::path(text.substr(0, start.position)).parent_path().string();
}

/// The torchrun directory that a log lies in: the parent of "attempt_0".
std::optional<fs::path> torchrun_directory(const fs::path& path) {
  fs::path before;
  for (const auto& part : path) {
    if (part.string().starts_with("attempt_")) return before;
    before /= part;
  }
  return std::nullopt;
}

void order(RunFiles& run) {
  std::ranges::sort(run.logs, {}, [](const fs::path& path) {
    const int part = part_number(path);
    return std::tuple(generation_of_path(path), part > 0 ? path.parent_path() / path.stem() : path,
                      -part);
  });
}

std::string name_or_dot(const std::string& name) {
  return name.empty() ? "." : name;
}

}  // namespace

int generation_of_path(const fs::path& path) {
  int generation = 0;
  for (const auto& part : path) {
    const std::string text = part.string();
    for (const std::string_view prefix : {"attempt_", "generation_", "generation-"})
      if (text.starts_with(prefix))
        std::from_chars(text.data() + prefix.size(), text.data() + text.size(), generation);
  }
  return generation;
}

std::vector<RunFiles> group_run_files(const fs::path& root, const std::vector<fs::path>& files) {
  std::set<fs::path> record_directories;
  for (const fs::path& file : files)
    if (file.filename() == "run.json") record_directories.insert(file.parent_path());
  const auto record_directory = [&](const fs::path& file) -> std::optional<fs::path> {
    for (fs::path directory = file.parent_path();; directory = directory.parent_path()) {
      if (record_directories.contains(directory)) return directory;
      if (directory == root || !directory.has_relative_path()) return std::nullopt;
    }
  };

  struct Timed {
    StartTime start;
    fs::path file;
  };
  std::map<std::string, RunFiles> runs;             // by name
  std::map<std::string, std::vector<Timed>> timed;  // by place
  for (const fs::path& directory : record_directories) {
    const std::string name =
        name_or_dot(cut_trailing(directory.lexically_relative(root).string(), "."));
    runs[name] = {name, directory, {}};
  }
  for (const fs::path& file : files) {
    if (!is_log(file)) continue;
    const std::string relative = file.lexically_relative(root).string();
    if (const auto directory = record_directory(file)) {
      runs[name_or_dot(cut_trailing(directory->lexically_relative(root).string(), "."))]
          .logs.push_back(file);
    } else if (const auto start = find_start_time(relative)) {
      timed[place_of(relative, *start)].push_back({*start, file});
    } else {
      const auto torchrun = torchrun_directory(relative);
      const std::string name = name_or_dot(torchrun ? torchrun->string() : relative);
      runs[name].logs.push_back(file);
    }
  }
  for (auto& [place, starts] : timed) {
    std::ranges::stable_sort(starts, {}, [](const Timed& t) { return t.start.at; });
    const bool only_one = starts.back().start.at - starts.front().start.at <= kSameStart;
    const Timed* previous = nullptr;
    std::string name;
    for (const Timed& next : starts) {
      if (previous == nullptr || next.start.at - previous->start.at > kSameStart) {
        const std::string relative = next.file.lexically_relative(root).string();
        name = only_one && !place.empty()
                   ? place
                   : (fs::path(place) / relative.substr(next.start.position, kTimeLength)).string();
      }
      runs[name].logs.push_back(next.file);
      previous = &next;
    }
  }

  std::vector<RunFiles> result;
  for (auto& [name, run] : runs) {
    run.name = name;
    order(run);
    result.push_back(std::move(run));
  }
  return result;
}

Result<std::vector<RunFiles>> find_runs(const fs::path& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (status.type() == fs::file_type::not_found)
    return fail(Error::Kind::kUsage, "read {}: no such file or directory", path.string());
  if (error) return errno_error(error.value(), "read " + path.string());
  if (path.filename() == "journal.json") return std::vector<RunFiles>{};  // `report LOGS/*`
  if (!fs::is_directory(status))
    return std::vector<RunFiles>{{path.filename().string(), {}, {path}}};

  std::vector<fs::path> files;
  auto walk =
      fs::recursive_directory_iterator(path, fs::directory_options::skip_permission_denied, error);
  for (; !error && walk != fs::recursive_directory_iterator(); walk.increment(error)) {
    if (walk.depth() >= kMaxDepth) walk.disable_recursion_pending();
    std::error_code ignored;
    if (walk->is_regular_file(ignored)) files.push_back(walk->path());
    if (files.size() > kMaxFiles)
      return fail(Error::Kind::kUsage,
                  "read {}: more than {} files; name the log directories themselves", path.string(),
                  kMaxFiles);
  }
  if (error) return errno_error(error.value(), "list " + path.string());
  return group_run_files(path, files);
}

}  // namespace megalaunch
