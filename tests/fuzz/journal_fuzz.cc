// Any bytes as node 0's journal: no crash, and a state that makes sense is the same after it was
// written again.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "launcher/gang/journal.h"
#include "tests/lib/temp_dir.h"

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace megalaunch;
  static const TempDir dir;
  dir.write("journal.json", std::string_view(reinterpret_cast<const char*>(data), size));
  const auto state = Journal::load(dir.path());
  if (!state || !*state) return 0;
  const std::string written = journal_json(**state);
  dir.write("journal.json", written);
  const auto again = Journal::load(dir.path());
  require(again && *again);
  require(journal_json(**again) == written);
  return 0;
}
