#include "launcher/torchrun/stream_choice.h"

#include <gtest/gtest.h>

namespace megalaunch {
namespace {

TEST(StreamChoice, OneDigitIsForEveryRank) {
  const auto both = parse_stream_choice("3");
  ASSERT_TRUE(both);
  EXPECT_TRUE(both->out(0) && both->err(0) && both->out(99) && both->err(99));
  EXPECT_FALSE(parse_stream_choice("2")->out(0));
  EXPECT_FALSE(parse_stream_choice("0")->err(0));
}

TEST(StreamChoice, AListNamesRanksAndTheOthersHaveNone) {
  const auto some = parse_stream_choice("0:3,12:1");
  ASSERT_TRUE(some);
  EXPECT_TRUE(some->out(0) && some->err(0) && some->out(12));
  EXPECT_FALSE(some->err(12));
  EXPECT_FALSE(some->out(1) || some->err(1));
}

TEST(StreamChoice, RefusesWhatIsNeither) {
  for (const char* text :
       {"", "4", "33", "x", "0:", ":3", "0:4", "0:3,", ",0:3", "0:3;1:3", "-1:3", "0:3:1", "0 :3"})
    EXPECT_FALSE(parse_stream_choice(text)) << text;
}

}  // namespace
}  // namespace megalaunch
