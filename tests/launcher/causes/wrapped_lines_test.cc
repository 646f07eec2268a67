#include "launcher/causes/wrapped_lines.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace megalaunch {
namespace {

/// What a terminal of 64 columns makes of a line.
std::string wrapped(std::string_view line) {
  constexpr size_t kWidth = 64;
  std::string result;
  for (; line.size() > kWidth; line.remove_prefix(kWidth))
    result += std::string(line.substr(0, kWidth)) + '\n';
  return result + std::string(line) + '\n';
}

constexpr std::string_view kLong =
    "[rank6]: the watchdog of this process got stuck for many seconds without any progress, which "
    "typically indicates that a collective hangs, or that another thread holds the interpreter's "
    "lock inside a call of CUDA's, or some other deadlock; otherwise, please find out why";

TEST(WrappedLines, AreWholeAgainAndMoveNoNumbers) {
  const auto joined = join_wrapped_lines(wrapped(kLong) + "[rank7]: well\n");
  ASSERT_TRUE(joined);
  EXPECT_EQ(*joined, std::string(kLong) + "\n\n\n\n\n[rank7]: well\n");
}

TEST(WrappedLines, WhatTheTerminalFilledWithBlanksEndsThere) {
  const std::string filled = fmt::format("{:64}\n", "[rank6]: short");
  const auto joined = join_wrapped_lines(wrapped(kLong) + filled + "next\n");
  ASSERT_TRUE(joined);
  EXPECT_TRUE(joined->ends_with("\n" + filled + "next\n")) << *joined;
}

TEST(WrappedLines, LinesOfOneLengthAloneAreNone) {
  const std::string line(80, 'x');
  std::string log;
  for (int i = 0; i < 9; ++i) log += line + '\n';
  EXPECT_EQ(join_wrapped_lines(log), std::nullopt) << "all begin alike";
  EXPECT_EQ(join_wrapped_lines(wrapped(kLong) + line + '\n'), std::nullopt)
      << "a longer line shows that nothing was broken";
  EXPECT_EQ(join_wrapped_lines(std::string(kLong) + '\n'), std::nullopt);
  EXPECT_EQ(join_wrapped_lines(""), std::nullopt);
}

}  // namespace
}  // namespace megalaunch
