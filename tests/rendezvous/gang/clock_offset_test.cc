#include "rendezvous/gang/clock_offset.h"

#include <gtest/gtest.h>

namespace megalaunch {
namespace {

using namespace std::chrono_literals;

const WallTime kNow{1'730'996'841s};

TEST(ClockOffset, KnowsNothingBeforeTheFirstPair) {
  EXPECT_EQ(ClockOffset().estimate(), std::nullopt);
}

TEST(ClockOffset, IsExactWhenBothWaysTakeEquallyLong) {
  ClockOffset offset;
  offset.add(kNow, kNow + 3s + 5ms, kNow + 10ms);
  EXPECT_EQ(offset.estimate()->offset, 3s);
  EXPECT_EQ(offset.estimate()->error, 5ms);
}

TEST(ClockOffset, ANodeThatIsAheadHasANegativeOffset) {
  ClockOffset offset;
  offset.add(kNow, kNow - 2s + 1ms, kNow + 2ms);
  EXPECT_EQ(offset.estimate()->offset, -2s);
}

TEST(ClockOffset, TheErrorBoundHoldsHoweverUnequalTheWays) {
  for (const auto there : {0ms, 1ms, 9ms, 10ms}) {
    ClockOffset offset;
    offset.add(kNow, kNow + 7s + there, kNow + 10ms);
    const auto estimate = *offset.estimate();
    EXPECT_LE(std::chrono::abs(estimate.offset - 7s), estimate.error);
  }
}

TEST(ClockOffset, TakesThePairWithTheShortestRoundTrip) {
  ClockOffset offset;
  offset.add(kNow, kNow + 500ms, kNow + 800ms);
  offset.add(kNow, kNow + 1ms, kNow + 2ms);
  offset.add(kNow, kNow + 100ms, kNow + 900ms);
  EXPECT_EQ(offset.estimate()->offset, 0s);
  EXPECT_EQ(offset.estimate()->error, 1ms);
}

TEST(ClockOffset, ForgetsPairsThatAreMoreThan64Old) {
  ClockOffset offset;
  offset.add(kNow, kNow + 1ms, kNow + 2ms);
  for (int i = 0; i < 63; ++i) offset.add(kNow, kNow + 3ms, kNow + 4ms);
  EXPECT_EQ(offset.estimate()->offset, 0ms);
  offset.add(kNow, kNow + 3ms, kNow + 4ms);
  EXPECT_EQ(offset.estimate()->offset, 1ms);
}

TEST(ClockOffset, AfterAStepOfAClockNoPairFromBeforeCounts) {
  for (const nanoseconds step : {nanoseconds(1s), nanoseconds(-1s), nanoseconds(8ms)}) {
    ClockOffset offset;
    for (int i = 0; i < 64; ++i) offset.add(kNow, kNow + 50us, kNow + 100us);
    offset.add(kNow, kNow + step + 5ms, kNow + 10ms);  // a slower pair than any before
    EXPECT_EQ(offset.estimate()->offset, step);
    EXPECT_EQ(offset.estimate()->error, 5ms);
    offset.add(kNow, kNow + step + 50us, kNow + 100us);
    EXPECT_EQ(offset.estimate()->error, 50us);
  }
}

TEST(ClockOffset, APairThatOnlyKnowsLessContradictsNothing) {
  ClockOffset offset;
  offset.add(kNow, kNow + 1ms, kNow + 2ms);
  offset.add(kNow, kNow + 10ms, kNow + 10ms);  // 5 ms off, at most 5 ms wrong
  EXPECT_EQ(offset.estimate()->error, 1ms);
}

TEST(ClockOffset, AClockThatWasSetBackInBetweenTellsNothing) {
  ClockOffset offset;
  offset.add(kNow, kNow, kNow - 1s);
  EXPECT_EQ(offset.estimate(), std::nullopt);
}

}  // namespace
}  // namespace megalaunch
