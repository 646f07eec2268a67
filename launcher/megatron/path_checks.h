#pragma once

#include <vector>

#include "launcher/job/job.h"
#include "launcher/megatron/checks.h"
#include "launcher/megatron/command.h"

namespace megalaunch {

/// What the files of this machine say about a job: the training script, the data, the initial model
/// and its tokenizer, the place for the output. Reads, and changes nothing. What `prepare:` steps
/// may still bring is a warning only.
std::vector<Check> check_paths(const Job& job, const MegatronCommand& command);

/// Whether neither the training script nor any data nor the initial model is on this machine: it is
/// not the one that trains, and its files say nothing about the job.
bool is_elsewhere(const MegatronCommand& command);

}  // namespace megalaunch
