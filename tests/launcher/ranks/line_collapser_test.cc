#include "launcher/ranks/line_collapser.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "tests/lib/manual_clock.h"

namespace megalaunch {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;
using Stream = Console::Stream;

class LineCollapserTest : public testing::Test {
 protected:
  void add(int rank, const std::string& line, Stream stream = Stream::kOut) {
    collapser_.add(0, rank, stream, line, clock_.steady());
  }
  std::vector<std::string> shown() { return std::exchange(shown_, {}); }

  ManualClock clock_;
  std::vector<std::string> shown_;
  LineCollapser collapser_{[this](Stream stream, std::string_view prefix, std::string_view line) {
                             shown_.push_back(std::string(stream == Stream::kErr ? "E" : "") +
                                              std::string(prefix) + std::string(line));
                           },
                           250ms, 1 << 20};
};

TEST_F(LineCollapserTest, ALineOfAllRanksIsShownOnceAndAtOnce) {
  collapser_.expect(8);
  for (int rank = 0; rank < 7; ++rank) add(rank, "done\n");
  EXPECT_THAT(shown(), IsEmpty());
  add(7, "done\n");
  EXPECT_THAT(shown(), ElementsAre("[0:0-7] done\n"));
  EXPECT_EQ(collapser_.deadline(), std::nullopt);
}

TEST_F(LineCollapserTest, ALineOfSomeRanksIsShownWhenItsTimeIsOver) {
  collapser_.expect(8);
  const auto begin = clock_.steady();
  for (const int rank : {5, 1, 2, 7, 3}) add(rank, "warning\n");
  EXPECT_EQ(collapser_.deadline(), begin + 250ms);
  collapser_.tick(begin + 249ms);
  EXPECT_THAT(shown(), IsEmpty());
  collapser_.tick(begin + 250ms);
  EXPECT_THAT(shown(), ElementsAre("[0:1-3,5,7] warning\n"));
}

TEST_F(LineCollapserTest, WhoComesTooLateStandsAlone) {
  collapser_.expect(2);
  add(0, "same\n");
  clock_.advance(250ms);
  collapser_.tick(clock_.steady());
  add(1, "same\n");
  collapser_.flush();
  EXPECT_THAT(shown(), ElementsAre("[0:0] same\n", "[0:1] same\n"));
}

TEST_F(LineCollapserTest, TheLinesOfEachRankKeepTheirOrder) {
  collapser_.expect(3);
  add(0, "a\n");
  add(0, "b\n");
  add(1, "b\n");  // joins rank 0's
  add(1, "a\n");  // must not: that would show it before its own b
  collapser_.flush();
  EXPECT_THAT(shown(), ElementsAre("[0:0] a\n", "[0:0-1] b\n", "[0:1] a\n"));
}

TEST_F(LineCollapserTest, ALineThatARankRepeatsIsShownAsOften) {
  collapser_.expect(3);
  for (const int rank : {0, 1})
    for (int i = 0; i < 3; ++i) add(rank, "again\n");
  collapser_.flush();
  EXPECT_THAT(shown(), ElementsAre("[0:0-1] again\n", "[0:0-1] again\n", "[0:0-1] again\n"));
}

TEST_F(LineCollapserTest, TheSameTextOnTheTwoStreamsIsNotTheSameLine) {
  collapser_.expect(3);
  add(0, "x\n", Stream::kOut);
  add(1, "x\n", Stream::kErr);
  add(2, "x\n", Stream::kErr);
  collapser_.flush();
  EXPECT_THAT(shown(), ElementsAre("[0:0] x\n", "E[0:1-2] x\n"));
}

TEST_F(LineCollapserTest, WhatWaitsIsBounded) {
  collapser_.expect(2);
  const std::string line(1000, 'x');
  for (int i = 0; i < 10'000; ++i) add(0, line);
  const size_t early = shown().size();
  EXPECT_GT(early, 8000u);
  collapser_.flush();
  EXPECT_EQ(early + shown().size(), 10'000u);
}

TEST_F(LineCollapserTest, WhateverComesNothingIsLostOrOutOfOrder) {
  std::mt19937 random(1);
  collapser_.expect(5);
  std::map<int, std::vector<std::string>> written, seen;
  for (int i = 0; i < 20'000; ++i) {
    const auto rank = static_cast<int>(random() % 5);
    const std::string line = std::to_string(random() % 4);
    written[rank].push_back(line);
    add(rank, line);
    if (random() % 10 == 0) clock_.advance(milliseconds(random() % 100));
    if (random() % 100 == 0) collapser_.tick(clock_.steady());
  }
  collapser_.flush();
  for (const std::string& text : shown()) {
    const size_t end = text.find("] ");
    std::string ranks = text.substr(3, end - 3);
    for (int rank = 0; rank < 5; ++rank) {
      bool in = false;
      for (size_t i = 0; i < ranks.size(); i += 2) {
        const bool range = i + 1 < ranks.size() && ranks[i + 1] == '-';
        in = in || (range ? rank >= ranks[i] - '0' && rank <= ranks[i + 2] - '0'
                          : rank == ranks[i] - '0');
      }
      if (in) seen[rank].push_back(text.substr(end + 2));
    }
  }
  EXPECT_EQ(seen, written);
}

TEST(RankRanges, AreShortAndSorted) {
  EXPECT_EQ(rank_ranges({3}), "3");
  EXPECT_EQ(rank_ranges({7, 0, 1, 2, 5}), "0-2,5,7");
  EXPECT_EQ(rank_ranges({1, 2}), "1-2");
}

}  // namespace
}  // namespace megalaunch
