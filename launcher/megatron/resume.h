#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "launcher/megatron/arguments.h"

namespace megalaunch {

struct Training;

/// Where a run starts from.
struct StartPoint {
  std::optional<ResumeFrom> resume;  ///< nothing: from the initial model
  std::int64_t iteration = 0;        ///< of the checkpoint
  std::string explanation;           ///< one line for a person: what it does and why
};

/// Decides where the run starts: from its own checkpoint when it is told to resume and the
/// checkpoint directory holds a `latest_checkpointed_iteration.txt` with a readable iteration
/// directory behind it, else from the initial model. Reads the directory and changes nothing. One
/// node decides for all.
StartPoint find_start_point(const Training& training);

/// The same for a directory alone, of runs with or without the distributed optimizer.
StartPoint find_checkpoint(const std::filesystem::path& checkpoint_dir, bool distributed);

}  // namespace megalaunch
