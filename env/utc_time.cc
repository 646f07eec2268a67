#include "env/utc_time.h"

#include <ctime>

namespace megalaunch {

std::string utc_time(WallTime time, const char* format) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(time);
  std::tm fields{};
  ::gmtime_r(&seconds, &fields);
  char text[128];
  return std::string(text, std::strftime(text, sizeof text, format, &fields));
}

std::string iso_time(WallTime time) {
  return utc_time(time, "%Y-%m-%dT%H:%M:%SZ");
}

}  // namespace megalaunch
