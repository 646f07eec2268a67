#include "env/variables.h"

#include <gtest/gtest.h>

namespace megalaunch {
namespace {

TEST(Variables, AnEmptyValueIsSetButNotNonempty) {
  Variables variables;
  variables.set("EMPTY", "");
  EXPECT_EQ(variables.get("EMPTY"), "");
  EXPECT_EQ(variables.get_nonempty("EMPTY"), std::nullopt);
  EXPECT_EQ(variables.get("MISSING"), std::nullopt);
}

TEST(Variables, StringsAreInTheFormOfExecve) {
  Variables variables;
  variables.set("B", "x=y");
  variables.set("A", "1");
  EXPECT_EQ(variables.to_strings(), (std::vector<std::string>{"A=1", "B=x=y"}));
}

TEST(Variables, TheProcessHasAPath) {
  EXPECT_TRUE(Variables::of_this_process().get("PATH").has_value());
}

}  // namespace
}  // namespace megalaunch
