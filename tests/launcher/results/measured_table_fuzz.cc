#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "launcher/results/measured_table.h"
#include "launcher/results/report.h"

// Any text is a table or an error; a table makes a report in every form, and the report's CSV is a
// table of as many rows.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace megalaunch;
  auto rows = parse_measured_table({reinterpret_cast<const char*>(data), size});
  if (!rows) return 0;
  for (RunSummary& row : *rows) derive(row, {});
  report_markdown(*rows, {});
  report_html(*rows, {});
  report_json(*rows);
  const auto again = parse_measured_table(report_csv(*rows));
  if (!again || again->size() != rows->size()) __builtin_trap();
  return 0;
}
