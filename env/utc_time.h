#pragma once

#include <string>

#include "env/clock.h"

namespace megalaunch {

/// `format` of strftime, in UTC; at most 127 characters.
std::string utc_time(WallTime time, const char* format);

/// "2024-11-07T16:27:21Z".
std::string iso_time(WallTime time);

}  // namespace megalaunch
