#include "env/utc_time.h"

#include <gtest/gtest.h>

namespace megalaunch {
namespace {

const WallTime kNow{std::chrono::seconds(1'730'996'841)};

TEST(IsoTime, IsInUtc) {
  EXPECT_EQ(iso_time(kNow), "2024-11-07T16:27:21Z");
  EXPECT_EQ(iso_time(WallTime{}), "1970-01-01T00:00:00Z");
}

TEST(UtcTime, IsWrittenAsAsked) {
  EXPECT_EQ(utc_time(kNow, "%Y.%m.%d-%H.%M.%S"), "2024.11.07-16.27.21");
}

}  // namespace
}  // namespace megalaunch
