#include "launcher/causes/cause_patterns.h"

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

TEST(CausePatterns, AStarStandsForWordsOfOneMessageOnly) {
  const std::string near(PatternSet::kMaxSpan, '.');
  const std::string far = near + '.';
  const std::vector<std::string> patterns = {"cuda*error", "^cuda*error", "cuda*error$",
                                             "^*error$"};
  EXPECT_THAT(match(patterns, "cuda" + near + "error"), UnorderedElementsAre(0, 1, 2, 3));
  EXPECT_THAT(match(patterns, "cuda" + far + "error"), UnorderedElementsAre(3));
}

TEST(CausePatterns, ALaterPlaceOfAPieceIsTriedWhereAnEarlierOneIsTooFarAway) {
  const std::string far(PatternSet::kMaxSpan + 1, '.');
  EXPECT_THAT(
      match({"cuda*error", "^cuda*error", "cuda*error$"}, "cuda" + far + "cuda error" + far),
      UnorderedElementsAre(0));
  EXPECT_THAT(match({"abc*def*ghi", "^abc*def*ghi$"},
                    "abc def" + far + "abc" + far + "def abc def ghi" + far + "ghi"),
              UnorderedElementsAre(0));
  EXPECT_THAT(match({"abc*def*ghi"}, "abc def" + far + "def ghi"), IsEmpty());
  EXPECT_THAT(match({"aba*aba"}, "aba" + far + "ababa"), IsEmpty());
  EXPECT_THAT(match({"aba*aba"}, "aba" + far + "abababa"), UnorderedElementsAre(0));
}

TEST(CausePatterns, WildcardsAgreeWithASearchOfAllPlaces) {
  // Every pattern of up to three pieces in every line of two letters: small enough to try them all.
  const auto exists = [](auto&& self, std::string_view line, size_t from,
                         const std::vector<std::string>& pieces, size_t index) -> bool {
    if (index == pieces.size()) return true;
    for (size_t at = from; at <= line.size() && (index == 0 || at <= from + PatternSet::kMaxSpan);
         ++at)
      if (line.substr(at).starts_with(pieces[index]) &&
          self(self, line, at + pieces[index].size(), pieces, index + 1))
        return true;
    return false;
  };
  const std::string gap(PatternSet::kMaxSpan - 2, '-');
  const std::vector<std::string> words = {"aab", "aba", "bb", "aa" + gap, gap + "b"};
  for (const std::string& a : words)
    for (const std::string& b : words)
      for (const std::string& c : words)
        for (const std::string& d : words) {
          const std::string line = a + b + c + d;
          for (const std::vector<std::string>& pieces :
               {std::vector<std::string>{"aab", "b"}, {"aba", "aab"}, {"aa", "bba", "b"}}) {
            const std::string pattern =
                pieces[0] + "*" + pieces[1] + (pieces.size() > 2 ? "*" + pieces[2] : "");
            EXPECT_EQ(!match({pattern}, line).empty(), exists(exists, line, 0, pieces, 0))
                << pattern << " in " << line;
          }
        }
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
