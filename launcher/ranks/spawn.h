#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "env/result.h"

namespace megalaunch {

/// Everything that one child process is made of.
struct SpawnRequest {
  std::filesystem::path program;         ///< absolute; see find_program()
  std::vector<std::string> argv;         ///< argv[0] included
  std::vector<std::string> environment;  ///< NAME=VALUE
  std::filesystem::path cwd;
  std::optional<uint64_t>
      open_files;     ///< soft limit of open files, which we may have raised for ourselves
  int stdin_fd = -1;  ///< the child's descriptors 0 to 2; stay owned by the caller. All above 2.
  int stdout_fd = -1;
  int stderr_fd = -1;
  bool new_session = false;  ///< also leader of a session, so that it may read a terminal
  std::vector<int> cpus;     ///< the only ones it may run on; empty: as this process
};

/// Starts a child through Boost.Process: leader of its own process group, killed by the kernel when
/// this thread's process dies, no signal blocked or ignored, only descriptors 0 to 2 open. Returns
/// once the child has exec'd, so success means that the program runs. Failure names the program and
/// the step that failed. Call it from the main thread only: the parent-death signal is sent when
/// the *thread* that spawned ends. The child must be reaped by the caller (Reaper), also after a
/// failed exec.
Result<pid_t> spawn(const SpawnRequest& request);

}  // namespace megalaunch
