#pragma once

#include <memory>

#include "env/log.h"
#include "launcher/ranks/log_pump.h"
#include "launcher/ranks/log_rotator.h"
#include "launcher/ranks/rank_log.h"

namespace megalaunch {

/// The logs of this node's ranks, from the start of a generation to its end: shown by the pump,
/// and kept below their cap. Belongs to the agent's thread.
class NodeLogs {
 public:
  /// `pump` outlives it. A cap of 0: none.
  NodeLogs(LogPump& pump, LogCap cap, Log log) : pump_(pump), cap_(cap), log_(std::move(log)) {}

  /// A log that cannot be shown or cut is warned of: its rank runs all the same.
  void follow(LogPump::Source source);
  /// The ranks are gone: nothing more comes. What the caps dropped.
  DroppedLog end();

 private:
  void cap(LogPump::Source& source);

  LogPump& pump_;
  LogCap cap_;
  Log log_;
  std::unique_ptr<LogRotator> rotator_;  ///< once a log has a cap
};

}  // namespace megalaunch
