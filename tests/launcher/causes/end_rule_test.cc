#include "launcher/causes/end_rule.h"

#include <gtest/gtest.h>

#include <csignal>

namespace megalaunch {
namespace {

std::string name(const CauseRule* rule) {
  return rule == nullptr ? "" : rule->name;
}

TEST(EndRule, AnEndIsKnownByItsCodeOrSignalAndAWeakRuleYields) {
  const auto rules = CauseRules::parse(R"(
rules:
  - {name: weak, kind: config, weak: true, code: [2, 3]}
  - {name: crash, kind: signal, silent: true, signal: SIGSEGV}
  - {name: strong, kind: numeric, code: 3})",
                                       "t.yaml");
  ASSERT_TRUE(rules) << rules.error().message;
  EXPECT_EQ(name(rule_of_end(Exited{2}, false, *rules)), "weak");
  EXPECT_EQ(name(rule_of_end(Exited{3}, false, *rules)), "strong");
  EXPECT_EQ(name(rule_of_end(Exited{4}, false, *rules)), "");
  EXPECT_EQ(name(rule_of_end(Signaled{SIGSEGV, false}, false, *rules)), "crash");
  EXPECT_EQ(name(rule_of_end(Signaled{SIGSEGV, false}, true, *rules)), "")
      << "the tear-down of an exception";
  EXPECT_EQ(name(rule_of_end(LostNode{}, false, *rules)), "");
}

}  // namespace
}  // namespace megalaunch
