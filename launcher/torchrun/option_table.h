#pragma once

#include <span>

#include "launcher/torchrun/arguments.h"

namespace megalaunch {

/// Every option that torchrun has had from 1.13 to 2.14, with the defaults of 2.13.
std::span<const ArgumentSpec> torchrun_options();

}  // namespace megalaunch
