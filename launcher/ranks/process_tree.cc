#include "launcher/ranks/process_tree.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <sstream>
#include <thread>
#include <unordered_map>
#include <utility>

#include "env/unique_fd.h"

namespace megalaunch {
namespace {

/// /proc files have no size: read until the end, bounded.
std::string read_proc(pid_t pid, const char* name, size_t limit = 1U << 20) {
  const std::string path = "/proc/" + std::to_string(pid) + "/" + name;
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string text;
  char buffer[8192];
  while (file && text.size() < limit) {
    const ssize_t count = ::read(file.get(), buffer, sizeof buffer);
    if (count <= 0) break;
    text.append(buffer, static_cast<size_t>(count));
  }
  return text;
}

/// False for a zombie, a kernel thread, and for what is somebody else's.
bool has_program(pid_t pid) {
  char target[1];
  return ::readlink(("/proc/" + std::to_string(pid) + "/exe").c_str(), target, sizeof target) >= 0;
}

/// There is or will be more to read of its environment than nothing: it is in the middle of exec(),
/// or was when somebody looked.
bool has_environment(pid_t pid) {
  const std::string text = read_proc(pid, "stat", 4096);
  const size_t close = text.rfind(')');
  if (close == std::string::npos) return false;
  // proc(5): the name is field 2, env_start and env_end are 50 and 51. Both are 0 during exec().
  std::istringstream fields(text.substr(close + 1));
  std::string skipped;
  for (int field = 3; field < 50; ++field) fields >> skipped;
  uint64_t start = 0, end = 0;
  fields >> start >> end;
  return start == 0 || start != end;
}

std::string environment_of(pid_t pid) {
  constexpr int kTries = 100;
  // Late in exec() the environment has a place before it has an end, which is soon over.
  constexpr int kLooksAtAnEmptyOne = 5;
  for (int i = 0, empty = 0; i < kTries && empty < kLooksAtAnEmptyOne; ++i) {
    std::string text = read_proc(pid, "environ");
    if (!text.empty() || !has_program(pid)) return text;
    empty = has_environment(pid) ? 0 : empty + 1;
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
  return {};
}

std::vector<pid_t> all_processes() {
  std::vector<pid_t> pids;
  std::error_code error;
  for (std::filesystem::directory_iterator it("/proc", error), end; !error && it != end;
       it.increment(error)) {
    const std::string name = it->path().filename().string();
    pid_t pid = 0;
    const auto [stop, bad] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (bad == std::errc() && stop == name.data() + name.size()) pids.push_back(pid);
  }
  return pids;
}

struct Stat {
  char state = '?';
  pid_t parent = 0;
};

/// Fields 3 and 4 of /proc/PID/stat; the name before them is in brackets and may hold blanks and
/// brackets.
std::optional<Stat> stat_of(pid_t pid) {
  const std::string text = read_proc(pid, "stat", 4096);
  const size_t close = text.rfind(')');
  if (close == std::string::npos || close + 4 >= text.size()) return std::nullopt;
  Stat stat;
  stat.state = text[close + 2];
  std::from_chars(text.data() + close + 4, text.data() + text.size(), stat.parent);
  return stat;
}

}  // namespace

std::vector<pid_t> descendants_of(std::vector<pid_t> roots) {
  std::unordered_multimap<pid_t, pid_t> children;
  for (const pid_t pid : all_processes()) {
    const auto stat = stat_of(pid);
    if (stat && stat->state != 'Z' && stat->state != 'X') children.emplace(stat->parent, pid);
  }
  const auto given = static_cast<std::ptrdiff_t>(roots.size());
  std::vector<pid_t> found = std::move(roots);
  for (size_t next = 0; next < found.size(); ++next) {
    const auto [begin, end] = children.equal_range(found[next]);
    for (auto it = begin; it != end; ++it) found.push_back(it->second);
  }
  found.erase(found.begin(), found.begin() + given);
  return found;
}

std::vector<pid_t> processes_with_variable(std::string_view name_equals_value) {
  std::string needle("\0", 1);
  needle.append(name_equals_value).append(1, '\0');
  std::vector<pid_t> found;
  for (const pid_t pid : all_processes()) {
    if (pid == ::getpid()) continue;
    const std::string environment = '\0' + environment_of(pid);
    if (environment.find(needle) != std::string::npos) found.push_back(pid);
  }
  return found;
}

std::string command_line_of(pid_t pid) {
  std::string line = read_proc(pid, "cmdline", 4096);
  while (!line.empty() && line.back() == '\0') line.pop_back();
  std::replace(line.begin(), line.end(), '\0', ' ');
  if (!line.empty()) return line;
  std::string name = read_proc(pid, "comm", 256);
  if (name.empty()) return "?";
  if (name.back() == '\n') name.pop_back();
  return "[" + name + "]";
}

}  // namespace megalaunch
