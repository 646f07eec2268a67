#include "launcher/causes/json_lines.h"

#include <gtest/gtest.h>

namespace megalaunch {
namespace {

TEST(JsonLines, GiveTheTextThatAContainersRuntimeWrapped) {
  EXPECT_EQ(unwrap_json_lines(R"({"log":"  File \"a.py\", line 1, in f\n","stream":"stderr"}
{"log":"KeyError: 'x'\n","stream":"stderr"}
)"),
            "  File \"a.py\", line 1, in f\nKeyError: 'x'\n");
}

TEST(JsonLines, LinesWithinOneObjectDoNotMoveTheNumbersOfThoseBehind) {
  EXPECT_EQ(unwrap_json_lines("{\"msg\":\"a\\nb\\n\"}\n\n{\"msg\":\"c\"}\n"), "a\rb\n\nc\n");
}

TEST(JsonLines, WhatIsNoLogOfThisFormStaysAsItIs) {
  EXPECT_EQ(unwrap_json_lines("plain\n{\"msg\":\"a\"}\n"), std::nullopt);
  EXPECT_EQ(unwrap_json_lines("{'loss': 1.5, 'epoch': 0.1}\n"), std::nullopt);
  EXPECT_EQ(unwrap_json_lines("{\"loss\": 1.5}\n"), std::nullopt) << "no text in it";
  EXPECT_EQ(unwrap_json_lines(""), std::nullopt);
}

TEST(JsonLines, ALineThatWasCutOffIsKept) {
  EXPECT_EQ(unwrap_json_lines("{\"msg\":\"a\"}\n{\"msg\":\"b\"}\n{\"msg\":\"c\"}\n{\"msg\":\"d"),
            "a\nb\nc\n{\"msg\":\"d\n");
}

}  // namespace
}  // namespace megalaunch
