#pragma once

#include <span>
#include <string>

#include "launcher/causes/evidence.h"
#include "launcher/causes/verdict.h"

namespace megalaunch {

/// What torchrun prints when it gives up, in the shape that tools look for: the line "failed
/// (exitcode: ...) local_rank: ... of binary: ...", then the framed report. Of all nodes; the root
/// cause is the verdict's first failure. `title` is what failed, such as "train.py", `binary` what
/// the ranks ran. Times are local time, as torchrun prints them. Empty when nothing failed.
std::string torchrun_failure_text(const std::string& title, const std::string& binary,
                                  std::span<const Evidence> evidence, const Verdict& verdict);

}  // namespace megalaunch
