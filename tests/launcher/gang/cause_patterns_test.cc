#include "launcher/gang/cause_patterns.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace megalaunch {
namespace {

using testing::IsEmpty;
using testing::UnorderedElementsAre;

std::vector<size_t> match(const std::vector<std::string>& patterns, std::string_view line,
                          bool fold_case = false) {
  PatternSet set;
  for (size_t i = 0; i < patterns.size(); ++i)
    EXPECT_TRUE(set.add(patterns[i], fold_case, i)) << patterns[i];
  set.compile();
  std::vector<size_t> ids;
  set.match(line, ids);
  return ids;
}

TEST(CausePatterns, TextMatchesAnywhereInTheLine) {
  EXPECT_THAT(match({"out of memory", "memory", "absent"}, "CUDA out of memory."),
              UnorderedElementsAre(0, 1));
}

TEST(CausePatterns, PatternsWithinPatternsAreAllFound) {
  EXPECT_THAT(match({"abcd", "bcd", "bcde", "cde"}, "xabcdex"), UnorderedElementsAre(0, 1, 2, 3));
}

TEST(CausePatterns, CaseCountsUnlessTheRuleFoldsIt) {
  EXPECT_THAT(match({"NaN loss"}, "nan LOSS"), IsEmpty());
  EXPECT_THAT(match({"NaN loss"}, "nan LOSS", true), UnorderedElementsAre(0));
}

TEST(CausePatterns, AStarStandsForAnyRunInOrder) {
  EXPECT_THAT(match({"Cuda failure*out of memory"}, "Cuda failure 2 'out of memory'"),
              UnorderedElementsAre(0));
  EXPECT_THAT(match({"Cuda failure*out of memory"}, "out of memory after Cuda failure"), IsEmpty());
  EXPECT_THAT(match({"aab*aab"}, "aaab aab"), UnorderedElementsAre(0));
  EXPECT_THAT(match({"aab*aab"}, "aaab ab"), IsEmpty());
}

TEST(CausePatterns, CaretAndDollarTieToTheEnds) {
  EXPECT_THAT(match({"^KeyError", "^Error"}, "KeyError: 'x'"), UnorderedElementsAre(0));
  EXPECT_THAT(match({"done$", "^all*done$", "^done$"}, "all is done"), UnorderedElementsAre(0, 1));
  EXPECT_THAT(match({"^abc$", "^abcabc$", "^abc*abc$"}, "abc"), UnorderedElementsAre(0));
}

TEST(CausePatterns, APatternThatMatchesNearlyAnyLineIsRefused) {
  PatternSet set;
  for (const char* pattern : {"", "*", "^", "^$", "ab", "a*b", "**"})
    EXPECT_FALSE(set.add(pattern, false, 0)) << pattern;
}

TEST(CausePatterns, AnEmptySetMatchesNothing) {
  PatternSet set;
  std::vector<size_t> ids;
  set.match("text", ids);
  set.compile();
  set.match("text", ids);
  EXPECT_THAT(ids, IsEmpty());
}

TEST(CausePatterns, AnOverlongLineIsMatchedAtItsTwoEnds) {
  const std::string filler(3 * PatternSet::kMaxLine, 'x');
  EXPECT_THAT(match({"head", "tail", "middle"}, "head" + filler + "middle" + filler + "tail"),
              UnorderedElementsAre(0, 1));
}

}  // namespace
}  // namespace megalaunch
