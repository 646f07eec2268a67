#pragma once

#include <string>

namespace megalaunch {

struct Training;

/// The run name as the scripts make it: it lacks virtual stages, GPUs, data and more, so different
/// runs can share it.
std::string script_run_name(const Training& training);

/// One name for everything that makes a run another run, so that `resume` never mixes two: what
/// fits is readable, the rest (data lists, initial model, extra arguments) is in the digest at the
/// end. At most 230 bytes: with a time behind it, it is still a file name.
std::string own_run_name(const Training& training);

}  // namespace megalaunch
