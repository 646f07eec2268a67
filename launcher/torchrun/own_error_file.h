#pragma once

#include <filesystem>
#include <vector>

#include "env/result.h"
#include "launcher/causes/evidence.h"

namespace megalaunch {

/// Copies the error file of the earliest failure in `evidence` that has one to `target`, with the
/// rank's exit code in it, for whoever started the agent with TORCHELASTIC_ERROR_FILE set. Does
/// nothing when no rank left an error file.
Status pass_on_error_file(const std::vector<Evidence>& evidence,
                          const std::filesystem::path& target);

}  // namespace megalaunch
