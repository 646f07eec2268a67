#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "launcher/megatron/training.h"

namespace megalaunch {

/// A rule of the training program, or of good sense, that a job breaks.
struct Check {
  enum class Level {
    kWarning,  ///< it starts, but probably not as meant
    kError,    ///< the training program refuses it, or it must not start
  };
  std::string code;  ///< stable, for programs: "gbs-not-divisible-by-mbs-dp"
  Level level = Level::kError;
  std::string message;  ///< the numbers in the rule, and the nearest settings that pass
};

/// The start-up rules of Megatron-LM that `training` breaks, all at once, in the order in which the
/// program looks at them (docs/megatron-checks.md numbers them). The sizes are those that the
/// program uses: it lowers TP and PP to what the GPUs allow and says nothing, which is a warning
/// with `script` and an error without. Pure; no file is looked at.
std::vector<Check> check_training(const Training& training);

bool has_errors(const std::vector<Check>& checks);

}  // namespace megalaunch
