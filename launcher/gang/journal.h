#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "env/clock.h"
#include "env/result.h"
#include "launcher/causes/restart_policy.h"

namespace megalaunch {

/// What node 0 remembers of a run, so that it can go on after its own death, and `megalaunch
/// status` can tell.
struct JournalState {
  std::string job;
  std::string run_id;
  std::string start_time;  ///< ISO 8601, UTC
  std::string host;        ///< of node 0
  int pid = 0;             ///< of node 0's agent
  int nodes = 1;
  int generation = 0;            ///< the one that runs, or would be next
  std::string phase;             ///< the last event's name
  std::string since;             ///< when it happened
  std::string detail;            ///< what it said
  std::string last_failure;      ///< why the last restart happened; empty without one
  std::optional<int> exit_code;  ///< set once the run has ended
  RestartHistory history;
  std::string note;  ///< not written; load(): why it is not the newest state. Empty: it is
};

/// <log_dir>/journal.json holds the state (replaced as a whole, so a reader sees the old or the new
/// one); <log_dir>/journal.previous.json one that is old enough to have reached the disk, for when
/// the machine crashed and the newest has not; <log_dir>/<run_id>/events.jsonl every event, one
/// JSON object a line: {time, event, generation, detail}.
class Journal {
 public:
  /// The state that an earlier process left; nothing when there is no journal.json. Fails when it
  /// cannot be read (kSystem), or makes no sense (kProtocol) and there is no previous one that
  /// does.
  static Result<std::optional<JournalState>> load(const std::filesystem::path& log_dir);

  /// Makes <log_dir>/<run_id>. Fails when that is not possible: the message names the folder.
  static Result<Journal> open(const std::filesystem::path& log_dir, JournalState state) {
    const auto run_dir = log_dir / state.run_id;
    return open(log_dir, run_dir, std::move(state));
  }
  /// The same with the run's folder in another place.
  static Result<Journal> open(const std::filesystem::path& log_dir,
                              const std::filesystem::path& run_dir, JournalState state);

  /// Appends an event and replaces the state; the one also where the other is not possible. A full
  /// disk must not end a job: failure is for a warning.
  Status record(WallTime now, std::string_view event, std::string_view detail);

  JournalState& state() { return state_; }
  const std::filesystem::path& run_dir() const { return run_dir_; }

 private:
  Journal(std::filesystem::path log_dir, std::filesystem::path run_dir, JournalState state)
      : log_dir_(std::move(log_dir)), run_dir_(std::move(run_dir)), state_(std::move(state)) {}

  void keep_previous(WallTime now);

  std::filesystem::path log_dir_;
  std::filesystem::path run_dir_;
  JournalState state_;
  std::optional<WallTime> replaced_at_;  ///< by this object
};

/// The state as journal.json has it.
std::string journal_json(const JournalState& state);

}  // namespace megalaunch
