#include "launcher/gang/line_relay.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/lib/manual_clock.h"

namespace megalaunch {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;
using Line = LinesNews::Line;
constexpr auto kOut = Console::Stream::kOut;

class LineRelayTest : public testing::Test {
 protected:
  bool add(int rank, std::string_view line) { return relay_.add(rank, kOut, line, now()); }
  SteadyTime now() const { return clock_.steady(); }
  /// What is sent when it is due, with the answer of node 0.
  std::vector<Line> sent() {
    const auto due = relay_.due();
    if (!due) return {};
    if (*due > now()) clock_.advance(*due - now());
    auto news = relay_.take(now());
    EXPECT_TRUE(news);
    relay_.arrived();
    return news ? news->lines : std::vector<Line>();
  }

  ManualClock clock_;
  LineRelay relay_{{.lines_per_second = 5, .bytes_per_second = 100, .line = 40}};
};

TEST_F(LineRelayTest, LinesGatherAndGoInOneMessage) {
  EXPECT_EQ(relay_.due(), std::nullopt);
  EXPECT_TRUE(add(8, "one\n"));
  EXPECT_FALSE(add(9, "two"));
  EXPECT_EQ(relay_.due(), now() + LineRelay::kGather);
  EXPECT_EQ(relay_.take(now()), std::nullopt);
  EXPECT_THAT(sent(), ElementsAre(Line{8, false, "one", 0}, Line{9, false, "two", 0}));
  EXPECT_EQ(relay_.due(), std::nullopt);
}

TEST_F(LineRelayTest, OneMessageIsUnderWayAtATime) {
  add(8, "one");
  clock_.advance(1s);
  ASSERT_TRUE(relay_.take(now()));
  add(8, "two");
  clock_.advance(1s);
  EXPECT_EQ(relay_.due(), std::nullopt);
  EXPECT_FALSE(relay_.take(now()));
  relay_.arrived();
  EXPECT_THAT(sent(), ElementsAre(Line{8, false, "two", 0}));
}

TEST_F(LineRelayTest, WhatIsTooMuchForASecondIsLeftOutAndCountedInItsPlace) {
  for (int i = 0; i < 12; ++i) add(8, std::to_string(i));
  EXPECT_EQ(sent().size(), 5u);
  clock_.advance(950ms);
  add(8, "12");  // of the next second
  EXPECT_THAT(sent(), ElementsAre(Line{8, false, "", 7}, Line{8, false, "12", 0}));
}

TEST_F(LineRelayTest, WhatWasLeftOutIsSaidEvenIfNoLineFollows) {
  for (int i = 0; i < 8; ++i) add(i < 7 ? 8 : 9, "x");
  EXPECT_EQ(sent().size(), 5u);
  EXPECT_THAT(sent(), ElementsAre(Line{8, false, "", 2}, Line{9, false, "", 1}));
  EXPECT_THAT(sent(), IsEmpty());
}

TEST_F(LineRelayTest, BytesAreBoundedToo) {
  for (int i = 0; i < 4; ++i) add(8, std::string(40, 'x'));
  EXPECT_EQ(sent().size(), 2u);
}

TEST_F(LineRelayTest, WhileNode0DoesNotAnswerNoMoreThanASecondsWorthWaits) {
  add(8, "x");
  clock_.advance(1s);
  ASSERT_TRUE(relay_.take(now()));
  for (int i = 0; i < 100; ++i) {
    add(8, "x");
    clock_.advance(1s);
  }
  relay_.arrived();
  const auto lines = sent();
  EXPECT_EQ(lines.size(), 6u);
  EXPECT_EQ(lines.back().left_out, 95u);
}

TEST_F(LineRelayTest, ALongLineIsCut) {
  add(8, std::string(50, 'x') + "\n");
  EXPECT_THAT(sent(), ElementsAre(Line{8, false, std::string(40, 'x') + " [... cut]", 0}));
}

TEST_F(LineRelayTest, AfterALossOfNode0ItBeginsAgain) {
  add(8, "x");
  clock_.advance(1s);
  ASSERT_TRUE(relay_.take(now()));
  relay_.forget();
  EXPECT_TRUE(add(8, "y"));
  EXPECT_THAT(sent(), ElementsAre(Line{8, false, "y", 0}));
}

}  // namespace
}  // namespace megalaunch
