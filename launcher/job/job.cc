#include "launcher/job/job.h"

#include <fmt/format.h>

#include <fstream>
#include <iterator>
#include <list>

#include "env/result.h"
#include "launcher/job/document.h"
#include "launcher/job/megatron_settings.h"
#include "launcher/job/overrides.h"
#include "launcher/job/section.h"

namespace megalaunch {
namespace {

constexpr std::uintmax_t kMaxFileSize = 4 << 20;
constexpr std::uint64_t kSmallestLog = 1 << 20;

const std::vector<std::string>& top_level_keys() {
  static const std::vector<std::string> keys{"version",  "name",    "platform", "workdir",
                                             "output",   "env",     "launch",   "command",
                                             "megatron", "prepare", "restart",  "logs"};
  return keys;
}

std::chrono::seconds in_seconds(std::chrono::milliseconds time) {
  return std::chrono::ceil<std::chrono::seconds>(time);
}

void read_version(Section& top) {
  const auto version = top.integer("version", 1);
  if (top.node("version") == nullptr)
    top.complain("version", "a job file says which schema it follows; add the line 'version: 1'");
  if (version && *version != 1)
    top.complain("version",
                 fmt::format("version {} is not known; this megalaunch reads version 1", *version));
}

void read_launch(Section launch, Job::Launch& into) {
  if (!launch.is_auto("nodes")) into.nodes = launch.integer("nodes", 1);
  if (!launch.is_auto("ranks_per_node"))
    into.ranks_per_node = launch.integer("ranks_per_node", 1, 4096);
  if (!launch.is_auto("endpoint")) {
    into.endpoint = launch.text("endpoint");
    if (into.endpoint && !parse_endpoint(*into.endpoint)) {
      launch.complain("endpoint", fmt::format("'{}' is not host:port", *into.endpoint));
      into.endpoint.reset();
    }
  }
  if (auto timeout = launch.duration("join_timeout")) into.join_timeout = in_seconds(*timeout);
  if (auto timeout = launch.duration("heartbeat_timeout")) {
    if (*timeout < std::chrono::seconds(1))
      launch.complain("heartbeat_timeout",
                      "must be 1s or more: a busy machine is silent for parts of a second");
    into.heartbeat_timeout = *timeout;
  }
  if (auto file = launch.text("key_file")) into.key_file = *file;
  launch.finish();
}

void read_restart(Section restart, Job::Restart& into) {
  if (auto max = restart.integer("max", 0)) into.max = *max;
  if (auto backoff = restart.duration("backoff")) into.backoff = *backoff;
  if (auto grace = restart.duration("grace")) into.grace = *grace;
  if (auto stopped = restart.duration("stopped")) into.stopped = *stopped;
  if (const YamlNode* kinds = restart.node("per_kind")) {
    Section per_kind = restart.section("per_kind");
    for (const auto& entry : kinds->entries)
      if (auto count = per_kind.integer(entry.name, 0)) into.per_kind.emplace(entry.name, *count);
  }
  if (auto causes = restart.text("causes")) into.causes = *causes;
  restart.finish();
}

std::vector<int> read_ranks(Section& section, std::string_view key) {
  std::vector<int> ranks;
  for (const std::string& word : section.words(key).value_or(std::vector<std::string>{})) {
    const auto rank = parse_integer(word);
    if (rank && std::abs(*rank) < (1 << 30))
      ranks.push_back(static_cast<int>(*rank));
    else
      section.complain(
          key, fmt::format("'{}' is not a rank: a whole number, negative ones count from the end",
                           word));
  }
  return ranks;
}

/// `console` is a word, or {ranks: [0, -1]}.
void read_logs(Section logs, Job::Logs& into) {
  if (!logs.is_auto("dir"))
    if (auto dir = logs.text("dir")) into.dir = *dir;
  const YamlNode* console = logs.node("console");
  if (console != nullptr && console->is_map()) {
    into.console = Job::Logs::Console::kRanks;
    Section section = logs.section("console");
    into.ranks = read_ranks(section, "ranks");
    if (section.node("ranks") == nullptr) section.complain("", "expected {ranks: [0, -1]}");
    section.finish();
  } else if (console != nullptr) {
    using enum Job::Logs::Console;
    constexpr Job::Logs::Console kModes[] = {kAll, kErrors, kCollapsed, kNone};
    if (auto mode = logs.choice("console", {"all", "errors", "collapsed", "none"}))
      into.console = kModes[*mode];
  }
  into.node_0_shows = read_ranks(logs, "node_0_shows");
  if (const auto size = logs.size("max_size")) {
    into.max_size = *size;
    if (*size < kSmallestLog)
      logs.complain("max_size", "a log file may grow to 1MiB at least; its end is needed whole");
  }
  if (const auto keep = logs.integer("keep", 0, 100)) {
    into.keep = *keep;
    if (into.max_size == 0) logs.complain("keep", "says nothing without 'max_size'");
  }
  logs.finish();
}

void read_prepare(Section& top, std::vector<Complaint>& complaints,
                  std::vector<PrepareStep>& into) {
  const YamlNode* steps = top.node("prepare");
  if (steps == nullptr) return;
  if (steps->kind != YamlNode::Kind::kList) {
    top.complain("prepare",
                 fmt::format("expected a list of steps ('- {{run: [mc, cp, ...]}}'), got {}",
                             kind_name(*steps)));
    return;
  }
  for (size_t i = 0; i < steps->items.size(); ++i) {
    Section section(steps->items[i], fmt::format("prepare.{}", i), complaints);
    PrepareStep step;
    if (auto run = section.words("run")) step.run = *run;
    if (section.node("run") == nullptr)
      section.complain("run", "missing; a step says what it runs: run: [mc, cp, a, b]");
    if (section.node("run") != nullptr && section.node("run")->kind == YamlNode::Kind::kList &&
        step.run.empty())
      section.complain("run", "the list is empty; its first item is the program");
    if (auto on = section.choice("on", {"first", "each"}))
      step.on = *on == 0 ? PrepareStep::On::kFirst : PrepareStep::On::kEach;
    if (auto timeout = section.duration("timeout")) step.timeout = in_seconds(*timeout);
    section.finish();
    into.push_back(std::move(step));
  }
}

void read_env(Section& top, std::vector<Complaint>& complaints, Job& job) {
  if (auto env = top.text_map("env")) job.env = *env;
  for (const auto& [name, value] : job.env) {
    if (name.empty() || name.find('=') != std::string::npos ||
        (name + value).find('\0') != std::string::npos)
      complaints.push_back({top.node("env")->place, "env." + name,
                            "a variable's name has no '=' and nothing has a zero byte"});
  }
}

void read_kind_of_job(Section& top, std::vector<Complaint>& complaints, Job& job) {
  const bool has_command = top.node("command") != nullptr;
  const bool has_megatron = top.node("megatron") != nullptr;
  if (has_command == has_megatron) {
    complaints.push_back({has_command ? top.node("megatron")->place : top.place(), "",
                          has_command
                              ? "both 'command' and 'megatron' are given; a job runs one thing"
                              : "nothing to run: give 'command: [program, argument, ...]' or a "
                                "'megatron:' section"});
  }
  if (auto command = top.words("command")) {
    job.command = *command;
    if (job.command.empty() || job.command.front().empty())
      top.complain("command", "the first item must be a program");
  }
  if (has_megatron) job.megatron = read_megatron_settings(*top.node("megatron"), complaints);
}

void read_job(const YamlNode& root, std::vector<Complaint>& complaints,
              const std::filesystem::path& start, Job& job) {
  Section top(root, "", complaints);
  for (const std::string& key : top_level_keys()) top.node(key);
  read_version(top);
  if (auto name = top.text("name")) {
    job.name = *name;
    if (job.name.find('/') != std::string::npos)
      top.complain("name", "'/' is not allowed: the name becomes a part of paths");
  }
  if (auto word = top.text("platform")) {
    if (auto kind = parse_platform_kind(*word)) {
      job.platform = *kind;
    } else {
      top.complain("platform", fmt::format("'{}' is none of {}", *word,
                                           fmt::join(platform_kind_words(), ", ")));
    }
  }
  job.workdir = (start / top.text("workdir").value_or(".")).lexically_normal();
  if (!job.workdir.has_filename()) job.workdir = job.workdir.parent_path();
  if (auto output = top.text("output")) job.output = *output;
  read_env(top, complaints, job);
  read_launch(top.section("launch"), job.launch);
  read_kind_of_job(top, complaints, job);
  read_prepare(top, complaints, job.prepare);
  read_restart(top.section("restart"), job.restart);
  read_logs(top.section("logs"), job.logs);
  top.finish();
}

JobError to_job_error(const Complaint& complaint) {
  return {std::string(complaint.place.source), complaint.place.line, complaint.place.column,
          complaint.key, complaint.message};
}

}  // namespace

std::string JobError::to_string() const {
  std::string text = file;
  if (line > 0) text += fmt::format(":{}:{}", line, column);
  const bool names_key =
      key.empty() || message.find(key) != std::string::npos || file.find("--set " + key) == 0;
  return names_key ? fmt::format("{}: {}", text, message)
                   : fmt::format("{}: {}: {}", text, key, message);
}

LoadedJob parse_job(const std::string& text, const std::filesystem::path& path,
                    const Variables& environment, const std::vector<std::string>& sets,
                    const std::filesystem::path& start) {
  const std::string source = path.string();
  std::list<std::string> flags;  // complaints point into these
  Document document = parse_yaml(text, source);
  // A text that is not YAML, or is ambiguous, would only give complaints that follow from that one.
  if (document.complaints.empty()) {
    for (const std::string& set : sets)
      apply_override(document, flags.emplace_back(set), top_level_keys());
    interpolate(document, environment);
  }
  Job job;
  job.file = path;
  job.name = path.stem().string();
  std::vector<Complaint> complaints = std::move(document.complaints);
  read_job(document.root, complaints, start, job);

  LoadedJob loaded;
  for (const Complaint& complaint : complaints) loaded.errors.push_back(to_job_error(complaint));
  for (JobError& error : loaded.errors)
    if (error.line == 0 && error.file != source) error.file = "--set " + error.file;
  if (loaded.errors.empty()) loaded.job = std::move(job);
  return loaded;
}

LoadedJob load_job(const std::filesystem::path& path, const Variables& environment,
                   const std::vector<std::string>& sets) {
  const auto failed = [&](std::string message) {
    LoadedJob loaded;
    loaded.errors.push_back({path.string(), 0, 0, "", std::move(message)});
    return loaded;
  };
  std::error_code error;
  if (std::filesystem::is_directory(path, error))
    return failed("cannot read the job file: it is a directory");
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file) return failed(fmt::format("cannot read the job file: {}", errno_text(errno)));
  std::string text(kMaxFileSize + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (static_cast<std::uintmax_t>(file.gcount()) > kMaxFileSize)
    return failed(
        fmt::format("cannot read the job file: it is larger than {} MiB", kMaxFileSize >> 20));
  text.resize(static_cast<size_t>(file.gcount()));
  const auto start = std::filesystem::current_path(error);
  if (error)
    return failed(fmt::format("cannot find out the current directory: {}", error.message()));
  return parse_job(text, path, environment, sets, start);
}

}  // namespace megalaunch
