#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "env/platform.h"
#include "env/variables.h"

namespace megalaunch {

struct MegatronSettings;  // launcher/job/megatron_settings.h

/// One step of `prepare:`. Runs before the first generation, without a shell.
struct PrepareStep {
  enum class On { kFirst, kEach };  ///< once for the job, on node 0; or once on every node
  std::vector<std::string> run;
  On on = On::kFirst;
  std::chrono::seconds timeout{std::chrono::hours(1)};
};

/// A parsed and validated job file: what the person asked for, before the platform and the clock
/// have their say. A plain value. `auto` is an empty optional everywhere. Relative paths are still
/// relative (to `workdir`).
struct Job {
  struct Launch {
    std::optional<int> nodes;
    std::optional<int> ranks_per_node;
    std::optional<std::string> endpoint;  ///< host:port of node 0's agent
    std::chrono::seconds join_timeout{600};
    std::chrono::milliseconds heartbeat_timeout{5000};  ///< a node that is silent so long is lost
    std::optional<std::filesystem::path> key_file;      ///< the job key; else MEGALAUNCH_JOB_KEY
  };
  struct Restart {
    int max = 3;
    std::chrono::milliseconds backoff{5000};
    std::chrono::milliseconds grace{30000};  ///< from SIGTERM to SIGKILL
    /// A rank that SIGSTOP stopped for so long has failed; 0: never.
    std::chrono::milliseconds stopped{30000};
    std::map<std::string, int>
        per_kind;  ///< restarts per cause kind, over the defaults of configs/causes.yaml
    /// A table of causes on top of configs/causes.yaml.
    std::optional<std::filesystem::path> causes;
  };
  struct Logs {
    enum class Console { kAll, kRanks, kErrors, kCollapsed, kNone };
    std::optional<std::filesystem::path> dir;
    Console console = Console::kAll;
    std::vector<int> ranks;         ///< for kRanks: global ranks, negative counts from the end
    std::vector<int> node_0_shows;  ///< ranks of other nodes whose lines node 0 shows too, likewise
    std::uint64_t max_size = 0;     ///< bytes of one log file; 0: no cap
    int keep = 2;                   ///< older parts of that size
  };

  std::filesystem::path file;  ///< where it was read from
  std::string name;
  PlatformKind platform = PlatformKind::kAuto;
  std::filesystem::path workdir;                ///< absolute
  std::optional<std::filesystem::path> output;  ///< may be relative to workdir
  std::map<std::string, std::string> env;
  Launch launch;
  std::vector<std::string> command;                  ///< empty for a `megatron:` job
  std::shared_ptr<const MegatronSettings> megatron;  ///< null for a `command:` job
  std::vector<PrepareStep> prepare;
  Restart restart;
  Logs logs;
};

/// One complaint about a job file. Printed as "file:line:column: message"; line and column count
/// from 1, 0 = unknown.
struct JobError {
  std::string file;
  int line = 0;
  int column = 0;
  std::string key;  ///< full name of the key at fault, such as "parallel.tp"; may be empty
  std::string message;

  std::string to_string() const;
};

/// What load_job gives: a job, or at least one error. All errors that can be found at once are
/// there.
struct LoadedJob {
  std::optional<Job> job;
  std::vector<JobError> errors;
};

/// Reads and validates a job file: unknown and duplicate keys, wrong types and bad values are
/// errors with their place.
/// `${VAR}` and `${VAR:-default}` in values read `environment`. `sets` are `--set a.b=c` overrides,
/// applied in order before validation; their errors name the flag. Pure apart from reading `path`;
/// starts nothing.
LoadedJob load_job(const std::filesystem::path& path, const Variables& environment,
                   const std::vector<std::string>& sets);

/// The same for a text in memory. `path` names it in messages; `start` (absolute) is the default of
/// `workdir`. Pure.
LoadedJob parse_job(const std::string& text, const std::filesystem::path& path,
                    const Variables& environment, const std::vector<std::string>& sets,
                    const std::filesystem::path& start);

}  // namespace megalaunch
