#include "launcher/gang/pause_notices.h"

#include <chrono>

#include "env/host.h"

namespace megalaunch {
namespace {

/// Between two messages about one rank.
constexpr seconds kPauseNoticeEvery{10};

double in_seconds(nanoseconds duration) {
  return std::chrono::duration<double>(duration).count();
}

}  // namespace

std::optional<NoticeNews> PauseNotices::about(const RankPause& pause, int node_rank,
                                              SteadyTime now) {
  Rank& known = ranks_[pause.rank];
  if (pause.signal != 0) {
    known.told = !known.told_at || now - *known.told_at >= kPauseNoticeEvery;
    if (known.told) known.told_at = now;
  }
  if (!known.told) return std::nullopt;
  const std::string who = fmt::format("rank {} (local rank {}, pid {}) on node {} ({})", pause.rank,
                                      pause.local_rank, pause.pid, node_rank, host_name());
  if (pause.signal == 0)
    return NoticeNews{"continued",
                      fmt::format("{} goes on after {:.1f} s", who, in_seconds(pause.lasted))};
  const std::string outlook =
      limit_ == milliseconds(0)
          ? "the others wait for it"
          : fmt::format("unless that comes within {:g} s, the rank counts as failed",
                        in_seconds(limit_));
  return NoticeNews{"paused", fmt::format("{} was stopped by {} ({}) and waits for SIGCONT; {}",
                                          who, signal_name(pause.signal), pause.signal, outlook)};
}

}  // namespace megalaunch
