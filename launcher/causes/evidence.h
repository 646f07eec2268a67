#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <variant>

#include "env/clock.h"
#include "env/result.h"
#include "launcher/causes/error_file.h"
#include "launcher/ranks/wait_status.h"

namespace megalaunch {

/// Its node's agent stopped answering; nobody saw the rank end.
struct LostNode {
  bool operator==(const LostNode&) const = default;
};
/// Finished logs without exit status: nobody wrote down how it ended.
struct NotRecorded {
  bool operator==(const NotRecorded&) const = default;
};
/// How a rank's life ended.
using RankEnd = std::variant<Exited, Signaled, LostNode, NotRecorded>;

/// "exited with code 1", "was killed by SIGKILL (9)", "was lost with its node", "ended nobody knows
/// how".
std::string describe(const RankEnd& end);
/// The end of a rank whose process was seen to end.
RankEnd to_rank_end(const WaitStatus& status);
/// The rank ended well: exit code 0.
bool succeeded(const RankEnd& end);
/// 9 for "SIGKILL" or "KILL".
std::optional<int> parse_signal(std::string_view name);

/// Everything that is known about the end of one rank: what its node's agent sends to node 0 when a
/// generation has ended, and what the verdict is made from. A plain value.
///
/// Bounded: a tail holds at most kMaxTail bytes. An agent need not send the tails of ranks that it
/// stopped, nor of more than a handful of ranks that failed alike.
struct Evidence {
  static constexpr size_t kMaxTail = 64 * 1024;

  int node_rank = 0;
  std::string host;
  int rank = 0;
  int local_rank = 0;
  int pid = 0;
  RankEnd end = NotRecorded{};
  bool stopped_by_us = false;  ///< it was alive when its agent began to stop the generation
  bool oom_killed =
      false;  ///< the kernel counted an out-of-memory kill in the cgroup during this generation
  bool log_disk_full = false;   ///< there was no room for its last words
  WallTime ended_at;            ///< on the node's own clock; for a lost node: its last sign of life
  nanoseconds clock_offset{0};  ///< the node's clock minus node 0's
  nanoseconds clock_uncertainty{0};  ///< the offset is right to within this
  std::optional<ErrorFile> error_file;
  std::string stderr_tail;
  std::string stdout_tail;

  /// The end on node 0's clock.
  WallTime corrected() const {
    return ended_at - std::chrono::duration_cast<WallTime::duration>(clock_offset);
  }
};

/// {"exit": 7}, {"signal": 9, "core": false}, {"lost_node": true} or {}.
nlohmann::json to_json(const RankEnd& end);
Result<RankEnd> rank_end_from_json(const nlohmann::json& json);

/// Text that is not UTF-8 is made so. Tails longer than kMaxTail lose their beginning, at a line
/// break if possible.
nlohmann::json to_json(const Evidence& evidence);
/// Refuses (kProtocol) what has missing or ill-typed members, numbers out of range, or tails above
/// kMaxTail.
Result<Evidence> evidence_from_json(const nlohmann::json& json);

/// `text` with every byte that is not part of UTF-8 replaced by U+FFFD.
std::string valid_utf8(std::string_view text);

/// The last `limit` bytes of `text`, beginning after a line break where there is one.
std::string_view bounded_tail(std::string_view text, size_t limit = Evidence::kMaxTail);

}  // namespace megalaunch
