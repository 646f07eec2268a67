#include "launcher/causes/tear_downs.h"

#include <gtest/gtest.h>

#include "launcher/causes/log_lines.h"

namespace megalaunch {
namespace {

LogLine line(std::string_view text) {
  return split_log(text).at(0);
}

constexpr std::string_view kBroken3 = "[Rank 3] Watchdog caught collective operation timeout";
constexpr std::string_view kCuda3 = "[Rank 3] CUDA error: unspecified launch failure";

TEST(TearDowns, ACudaErrorIsExplainedByWhatBrokeBeforeIt) {
  TearDowns torn_down;
  EXPECT_FALSE(torn_down.explain(line(kCuda3)));
  torn_down.broke(line(kBroken3));
  EXPECT_TRUE(torn_down.explain(line(kCuda3)));
  EXPECT_TRUE(torn_down.explain(line("[rank3]: RuntimeError: CUDA error: invalid argument")));
  EXPECT_FALSE(torn_down.explain(line("[Rank 2] CUDA error: unspecified launch failure")));
  EXPECT_FALSE(torn_down.explain(line("[Rank 3] KeyError: 'x'")));
  EXPECT_FALSE(torn_down.explain(line("[Rank 3] CUDA error: uncorrectable ECC error encountered")));
}

TEST(TearDowns, NcclNamesItsProcess) {
  TearDowns torn_down;
  torn_down.broke(line("a:7:8 [0] NCCL WARN NET/IB : Got completion with error 12"));
  EXPECT_TRUE(torn_down.explain(line("a:7:9 [1] NCCL WARN Cuda failure 'invalid argument'")));
  EXPECT_FALSE(torn_down.explain(line("b:7:9 [1] NCCL WARN Cuda failure 'invalid argument'")));
}

TEST(TearDowns, AnErrorOfNobodyIsOfTheOnlyOneThatBrokeOff) {
  const std::string_view thrown = "  what():  CUDA error: unspecified launch failure";
  TearDowns torn_down;
  torn_down.broke(line("RuntimeError: NCCL error: remote process exited"));
  EXPECT_TRUE(torn_down.explain(line(thrown)));
  EXPECT_FALSE(torn_down.explain(line(kCuda3)));
  TearDowns named;
  named.broke(line(kBroken3));
  EXPECT_TRUE(named.explain(line(thrown)));
  named.broke(line("[Rank 2] Watchdog caught collective operation timeout"));
  EXPECT_FALSE(named.explain(line(thrown)));
}

}  // namespace
}  // namespace megalaunch
