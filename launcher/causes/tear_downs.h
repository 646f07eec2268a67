#pragma once

#include <set>
#include <string>

namespace megalaunch {

struct LogLine;

/// Who of those that write one log has lost a connection or a collective. What CUDA says to them
/// afterwards is the tear-down: kernels that were waiting are aborted, and memory goes from under
/// others. A CUDA error that comes first is no tear-down: the connections break because of it.
///
/// Who writes is known by the process that NCCL names, or by the rank that a message or its prefix
/// names. What tells of nobody is of the one that broke off, where no second one did.
class TearDowns {
 public:
  /// A line tells of a broken connection or collective. Lines are given in the order of the log.
  void broke(const LogLine& line);

  /// The line is a CUDA error, and its writer had broken off before.
  bool explain(const LogLine& line) const;

 private:
  std::set<std::string> broken_;
};

}  // namespace megalaunch
