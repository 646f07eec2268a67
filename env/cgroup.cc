#include "env/cgroup.h"

#include <fstream>
#include <string>
#include <vector>

namespace megalaunch {
namespace {

/// The value behind "oom_kill " in a file of such lines.
std::optional<int64_t> oom_kill_line(const std::string& path) {
  std::ifstream file(path);
  std::string name;
  int64_t value = 0;
  while (file >> name >> value)
    if (name == "oom_kill") return value;
  return std::nullopt;
}

}  // namespace

std::optional<int64_t> count_oom_kills(const std::filesystem::path& root) {
  // Lines of /proc/self/cgroup: "0::/path" for version 2, "N:controllers:/path" for version 1. In a
  // container the path is often outside of what is mounted; then the root of the mount is our own
  // group.
  std::vector<std::string> candidates;
  std::ifstream groups(root / "proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const size_t first = line.find(':');
    const size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string path = line.substr(second + 1);
    if (controllers.empty()) candidates.push_back(path + "/memory.events");
    if (("," + controllers + ",").find(",memory,") == std::string::npos) continue;
    // A combined hierarchy is mounted under the names of all its controllers.
    for (const std::string& mount : {std::string("memory"), controllers})
      for (const std::string& group : {path, std::string()})
        candidates.push_back("/" + mount + group + "/memory.oom_control");
  }
  candidates.push_back("/memory.events");
  candidates.push_back("/memory/memory.oom_control");
  const std::string mounts = (root / "sys/fs/cgroup").string();
  for (const std::string& path : candidates)
    if (const auto count = oom_kill_line(mounts + path)) return count;
  return std::nullopt;
}

}  // namespace megalaunch
