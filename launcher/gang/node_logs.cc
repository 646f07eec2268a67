#include "launcher/gang/node_logs.h"

namespace megalaunch {

void NodeLogs::follow(LogPump::Source source) {
  if (cap_.max_size > 0) cap(source);
  if (auto followed = pump_.follow(std::move(source)); !followed)
    log_.warn("{}", followed.error().message);
}

void NodeLogs::cap(LogPump::Source& source) {
  auto capped = RankLog::open(source.path, cap_);
  if (!capped) return log_.warn("{}", capped.error().message);
  if (!rotator_)
    rotator_ = std::make_unique<LogRotator>(
        [log = log_](const std::string& text) { log.warn("{}", text); });
  rotator_->add(*capped);
  source.log = std::move(*capped);
}

DroppedLog NodeLogs::end() {
  pump_.end_of_sources();
  return rotator_ ? rotator_->clear() : DroppedLog{};
}

}  // namespace megalaunch
