#include "launcher/gang/pause_notices.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

namespace megalaunch {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

const SteadyTime kStart{100s};

RankPause stopped(int rank) {
  return {.rank = rank, .local_rank = 1, .pid = 77, .signal = SIGSTOP};
}
RankPause continued(int rank, nanoseconds lasted) {
  return {.rank = rank, .local_rank = 1, .pid = 77, .lasted = lasted};
}

TEST(PauseNotices, SayWhoWaitsWhatComesOfItAndThatItGoesOn) {
  PauseNotices notices(30s);
  const auto paused = notices.about(stopped(9), 4, kStart);
  ASSERT_TRUE(paused);
  EXPECT_EQ(paused->event, "paused");
  EXPECT_THAT(paused->text, HasSubstr("rank 9 (local rank 1, pid 77) on node 4 ("));
  EXPECT_THAT(paused->text, HasSubstr("was stopped by SIGSTOP (19)"));
  EXPECT_THAT(paused->text, HasSubstr("unless that comes within 30 s, the rank counts as failed"));
  const auto goes_on = notices.about(continued(9, 2500ms), 4, kStart + 2500ms);
  ASSERT_TRUE(goes_on);
  EXPECT_EQ(goes_on->event, "continued");
  EXPECT_THAT(goes_on->text, HasSubstr("goes on after 2.5 s"));
}

TEST(PauseNotices, WithoutALimitTheOthersWait) {
  EXPECT_THAT(PauseNotices(0s).about(stopped(9), 4, kStart)->text,
              HasSubstr("waits for SIGCONT; the others wait for it"));
}

TEST(PauseNotices, ARankThatIsThrottledIsSpokenOfEveryTenSecondsOnly) {
  PauseNotices notices(30s);
  int said = 0;
  for (SteadyTime now = kStart; now < kStart + 20s; now += 100ms) {
    said += notices.about(stopped(9), 0, now).has_value();
    said += notices.about(continued(9, 50ms), 0, now + 50ms).has_value();
  }
  EXPECT_EQ(said, 4);
  EXPECT_TRUE(notices.about(stopped(8), 0, kStart + 15s));  // another one
}

}  // namespace
}  // namespace megalaunch
