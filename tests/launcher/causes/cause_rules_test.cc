#include "launcher/causes/cause_rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace megalaunch {
namespace {

using testing::HasSubstr;

std::string error_of(std::string_view yaml) {
  const auto rules = CauseRules::parse(yaml, "t.yaml");
  if (rules) return "";
  EXPECT_EQ(rules.error().kind, Error::Kind::kUsage);
  return rules.error().message;
}

TEST(CauseRules, EveryKindHasANameThatLeadsBack) {
  for (size_t i = 0; i < kCauseKinds; ++i) {
    const auto kind = static_cast<CauseKind>(i);
    EXPECT_EQ(parse_cause_kind(to_string(kind)), kind);
  }
  EXPECT_EQ(parse_cause_kind("weather"), std::nullopt);
}

TEST(CauseRules, TheBuiltInTableNeverRetriesWhatSettingsCause) {
  const CauseRules rules = CauseRules::built_in();
  EXPECT_GT(rules.rules().size(), 20U);
  EXPECT_EQ(rules.habit(CauseKind::kConfig).retries, 0);
  EXPECT_EQ(rules.habit(CauseKind::kOutOfMemory).retries, 0);
  for (const CauseRule& rule : rules.rules()) {
    EXPECT_FALSE(rule.advice.empty()) << rule.name;
    if (rule.kind == CauseKind::kConfig || rule.kind == CauseKind::kOutOfMemory) {
      EXPECT_TRUE(rule.habit.retries == 0 || (rule.before_training && rule.habit.needs_progress))
          << rule.name;
    }
  }
}

TEST(CauseRules, ARuleOverridesTheHabitsOfItsKind) {
  const auto rules = CauseRules::parse(R"(
kinds: {data: {retries: 2, repeat_ends: true}}
rules:
  - {name: a, kind: data, match: abc}
  - {name: b, kind: data, match: [abc, def], retries: 0, repeat_ends: false}
  - {name: c, kind: signal, signal: [SIGSEGV, KILL], code: 139})",
                                       "t.yaml");
  ASSERT_TRUE(rules) << rules.error().message;
  EXPECT_EQ(rules->rules()[0].habit.retries, 2);
  EXPECT_TRUE(rules->rules()[0].habit.repeat_ends);
  EXPECT_EQ(rules->rules()[1].habit.retries, 0);
  EXPECT_FALSE(rules->rules()[1].habit.repeat_ends);
  EXPECT_EQ(rules->rules()[2].signals, (std::vector<int>{11, 9}));
  EXPECT_EQ(rules->rules()[2].codes, std::vector<int>{139});
}

TEST(CauseRules, MistakesAreNamedWithTheirPlace) {
  EXPECT_EQ(error_of("rules:\n  - {name: a, kind: data, patern: x}\n"),
            "t.yaml:2:27: unknown key 'patern' in a rule");
  EXPECT_THAT(error_of("kinds: {wether: {retries: 1}}"),
              HasSubstr("t.yaml:1:9: there is no kind 'wether'"));
  EXPECT_THAT(error_of("rules: [{name: a, kind: data, match: abc, match: d}]"),
              HasSubstr("'match' is there twice"));
  EXPECT_THAT(
      error_of("rules: [{name: a, kind: data, match: abc}, {name: a, kind: data, match: abc}]"),
      HasSubstr("rule 'a' is there twice"));
  EXPECT_THAT(error_of("rules: [{name: a, kind: data, signal: SIGNONE}]"),
              HasSubstr("no signal 'SIGNONE'"));
  EXPECT_THAT(error_of("rules: [{name: a, kind: data, match: 'x*'}]"),
              HasSubstr("matches nearly every line"));
  EXPECT_THAT(error_of("rules: [{name: a, kind: data, frame: 'x*'}]"),
              HasSubstr("matches nearly every line"));
  EXPECT_EQ(error_of("rules: [{name: a, kind: data, frame: [loader.py, in read]}]"), "");
  EXPECT_THAT(error_of("rules: [{name: a, kind: data}]"),
              HasSubstr("needs match, frame, code, signal"));
  EXPECT_THAT(error_of("kinds: {data: {retries: many}}"),
              HasSubstr("'retries' must be a whole number"));
  EXPECT_THAT(error_of("rules: [{name: a"), HasSubstr("t.yaml:1:"));
  EXPECT_THAT(error_of("[]"), HasSubstr("must be a map"));
}

TEST(CauseRules, AUsersRulesComeFirstAndReplaceOursByName) {
  const auto ours = CauseRules::parse(
      "kinds: {data: {retries: 0}}\nrules: [{name: a, kind: data, match: abc}, {name: b, kind: "
      "data, match: abc}]",
      "o");
  ASSERT_TRUE(ours);
  const auto both = ours->with(
      "kinds: {data: {retries: 4}}\nrules: [{name: b, kind: config, match: new}]", "u.yaml");
  ASSERT_TRUE(both) << both.error().message;
  ASSERT_EQ(both->rules().size(), 2U);
  EXPECT_EQ(both->rules()[0].name, "b");
  EXPECT_EQ(both->rules()[0].kind, CauseKind::kConfig);
  EXPECT_EQ(both->rules()[1].name, "a");
  EXPECT_EQ(both->rules()[1].habit.retries, 4);
  EXPECT_EQ(ours->rules()[0].name, "a") << "the old table stays as it was";
  EXPECT_FALSE(ours->with("rules: [{}]", "u.yaml"));
}

}  // namespace
}  // namespace megalaunch
