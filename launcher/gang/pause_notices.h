#pragma once

#include <map>
#include <optional>

#include "env/clock.h"
#include "launcher/gang/message.h"
#include "launcher/ranks/rank_group.h"

namespace megalaunch {

/// What a node says of its ranks that a signal stopped (SIGSTOP, Ctrl-Z) and that go on: once a
/// pause, and not for each of the many pauses of a rank that something like cpulimit throttles.
/// Pure. For one generation.
class PauseNotices {
 public:
  /// `limit`: after so long a stopped rank counts as failed; 0: never.
  explicit PauseNotices(milliseconds limit) : limit_(limit) {}

  /// What is to be said of a rank of node `node_rank`; nothing when it was said lately.
  std::optional<NoticeNews> about(const RankPause& pause, int node_rank, SteadyTime now);

 private:
  struct Rank {
    bool told = false;  ///< of the present pause, if there is one
    std::optional<SteadyTime> told_at;
  };
  milliseconds limit_;
  std::map<int, Rank> ranks_;  ///< by global rank
};

}  // namespace megalaunch
