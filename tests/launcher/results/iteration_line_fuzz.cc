#include <cstddef>
#include <cstdint>
#include <string_view>

#include "launcher/results/checkpoint_line.h"
#include "launcher/results/iteration_line.h"
#include "launcher/results/progress.h"

// Any bytes are a line; several lines are a log.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace megalaunch;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  Progress progress(WallTime{}, {.gpus = 8, .sequence_length = 8192});
  WallTime now{};
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(line.size() < text.size() ? line.size() + 1 : text.size());
    progress.feed(0, line, now += seconds(1));
    parse_memory_estimate_line(line);
    parse_checkpoint_line(line);
    if (static_cast<int>(progress.status_line(40, now).size()) > 3 * 40) __builtin_trap();
  }
  return 0;
}
