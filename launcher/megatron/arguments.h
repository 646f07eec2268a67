#pragma once

#include <string>
#include <vector>

#include "env/result.h"
#include "launcher/megatron/training.h"

namespace megalaunch {

/// What a run goes on from: a checkpoint of its own (launcher/megatron/resume.h).
struct ResumeFrom {
  bool optimizer = false;  ///< optimizer and random state were saved with it
};

/// The arguments of the training program, in the order of the scripts. With `script` they equal the
/// script's; asked to resume, they differ in --load and the options that leave the optimizer out.
/// Pure.
std::vector<std::string> program_arguments(const Training& training,
                                           const std::optional<ResumeFrom>& resume);

/// Refuses an extra argument that says something else than a computed one; the error names both.
Status check_extra_arguments(const std::vector<std::string>& computed,
                             const std::vector<std::string>& extra);

/// The program: relative to program_cwd().
std::string program_entry(const Training& training);
/// Where it is started, absolute.
std::string program_cwd(const Training& training);

}  // namespace megalaunch
