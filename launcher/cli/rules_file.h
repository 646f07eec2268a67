#pragma once

#include <filesystem>

#include "env/result.h"
#include "launcher/causes/cause_rules.h"

namespace megalaunch {

/// The built-in table of causes with a user's file on top; an empty path is the built-in one alone.
/// An error (kUsage) says why the file cannot be read, or has the place of the mistake in it as
/// "file:line:column".
Result<CauseRules> rules_with_file(const std::filesystem::path& file);

}  // namespace megalaunch
