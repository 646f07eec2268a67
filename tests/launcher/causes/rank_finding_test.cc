#include "launcher/causes/rank_finding.h"

#include <gtest/gtest.h>

#include "launcher/causes/evidence.h"

namespace megalaunch {
namespace {

TEST(RankFinding, TheTracebackInAnErrorFileTellsMoreThanItsMessage) {
  const CauseRules rules = CauseRules::built_in();
  Evidence evidence;
  evidence.end = Exited{1};
  evidence.error_file.emplace();
  evidence.error_file->message = "RuntimeError: short read";
  EXPECT_EQ(find_cause(evidence, rules).kind, CauseKind::kConfig);
  evidence.error_file->py_callstack =
      "Traceback (most recent call last):\n"
      "  File \"/x/torch/utils/data/_utils/fetch.py\", line 49, in fetch\n"
      "    data = self.dataset[i]\nRuntimeError: short read\n";
  EXPECT_EQ(find_cause(evidence, rules).kind, CauseKind::kData);
}

}  // namespace
}  // namespace megalaunch
