#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "env/result.h"

namespace megalaunch {

/// Finds the file that execve needs for `name`: a name with a slash is relative to `cwd`, any other
/// is looked up in the colon-separated `search_path`. Fails, before anything is started, when the
/// program is missing, is a folder or cannot be executed; the message says where it was looked for.
Result<std::filesystem::path> find_program(std::string_view name, std::string_view search_path,
                                           const std::filesystem::path& cwd);

}  // namespace megalaunch
