#pragma once

#include <span>
#include <string>
#include <string_view>

#include "launcher/torchrun/arguments.h"

namespace megalaunch {

/// A script that makes `shell` (bash, zsh or tcsh) complete the options of a command called
/// torchrun: their names, the choices of their values, files elsewhere.
std::string completion_script(std::span<const ArgumentSpec> specs, std::string_view shell);

}  // namespace megalaunch
