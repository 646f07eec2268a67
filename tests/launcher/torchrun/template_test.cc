#include "launcher/torchrun/template.h"

#include <gtest/gtest.h>

namespace megalaunch {
namespace {

const TemplateValues kValues{{"local_rank", "3"}, {"rank", "11"}};

TEST(Template, ReplacesNamesWithAndWithoutBraces) {
  EXPECT_EQ(fill_template("${local_rank}/$rank.log", kValues), "3/11.log");
  EXPECT_EQ(fill_template("$rank_", kValues), "$rank_");
}

TEST(Template, TwoDollarsAreOne) {
  EXPECT_EQ(fill_template("$$rank $$", kValues), "$rank $");
}

TEST(Template, LeavesAloneWhatHasNoValue) {
  for (const char* text :
       {"${other}", "$", "${", "${}", "${rank", "$1", "a$", "${ rank}", "$-", ""})
    EXPECT_EQ(fill_template(text, kValues), text);
}

}  // namespace
}  // namespace megalaunch
