#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "launcher/results/samples.h"

// What is read from a line is written as a line that gives the same.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto sample = megalaunch::parse_json_line(text);
  if (!sample) return 0;
  const std::string line = megalaunch::to_json_line(*sample);
  const auto again = megalaunch::parse_json_line(line);
  if (!again || megalaunch::to_json_line(*again) != line) __builtin_trap();
  return 0;
}
