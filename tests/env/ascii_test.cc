#include "env/ascii.h"

#include <gtest/gtest.h>

namespace megalaunch {
namespace {

TEST(Ascii, LowersLettersAndLeavesAllOtherBytesAlone) {
  EXPECT_EQ(ascii_lower("AZaz@[`{ 0-9_ÄÖ损"), "azaz@[`{ 0-9_ÄÖ损");
  EXPECT_EQ(ascii_lower(""), "");
  EXPECT_EQ(ascii_lower('Q'), 'q');
  EXPECT_EQ(ascii_lower('\xC4'), '\xC4');
}

}  // namespace
}  // namespace megalaunch
