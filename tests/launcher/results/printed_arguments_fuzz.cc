#include <cstddef>
#include <cstdint>
#include <string_view>

#include "launcher/results/printed_arguments.h"
#include "launcher/results/stage_memory.h"

// Any lines are the beginning of a log.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace megalaunch;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  record_from_run_name(text);
  PrintedArguments arguments;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(line.size() < text.size() ? line.size() + 1 : text.size());
    arguments.feed(line);
  }
  RunRecord record = arguments.record();
  if (const KnownModel* known = find_known_model(record.model)) record.size = known->size;
  expected_stage_memory_mib(record);
  return 0;
}
