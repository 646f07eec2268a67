#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace megalaunch {

/// How many processes the kernel has killed for lack of memory in this process's memory cgroup
/// (version 2 or 1), since the cgroup exists. Nothing where that cannot be read. Compare two
/// readings. `root` is where proc and sys are found.
std::optional<int64_t> count_oom_kills(const std::filesystem::path& root = "/");

}  // namespace megalaunch
