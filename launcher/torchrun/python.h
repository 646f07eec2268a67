#pragma once

#include <filesystem>
#include <string>

#include "env/result.h"
#include "env/variables.h"

namespace megalaunch {

/// The interpreter that starts the scripts: PYTHON_EXEC; else `python3` or `python` beside the file
/// that we were called as, when that is named torchrun (in a virtual environment it is torch's
/// own); else the first of them in PATH. `called_as` is argv[0].
Result<std::filesystem::path> find_python(const std::string& called_as,
                                          const Variables& environment,
                                          const std::filesystem::path& cwd);

}  // namespace megalaunch
