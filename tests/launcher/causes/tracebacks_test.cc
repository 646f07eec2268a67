#include "launcher/causes/tracebacks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace megalaunch {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using Part = Tracebacks::Part;

/// Reads the lines; the last one's part.
Part read(Tracebacks& tracebacks, const std::vector<std::string_view>& lines) {
  Part part = Part::kOutside;
  for (const std::string_view line : lines) part = tracebacks.read(line);
  return part;
}

TEST(Tracebacks, TheFramesAboveAnExceptionAreItsOwnOnly) {
  Tracebacks tracebacks;
  EXPECT_EQ(read(tracebacks, {"Traceback (most recent call last):", "  File \"a.py\", line 1, in f",
                              "    g()", "KeyError: 'x'"}),
            Part::kException);
  EXPECT_THAT(tracebacks.frames(), ElementsAre("  File \"a.py\", line 1, in f"));
  EXPECT_EQ(read(tracebacks, {"", "During handling of the above exception, another one occurred:",
                              "Traceback (most recent call last):", "  File \"b.py\", line 2, in h",
                              "    raise E", "RuntimeError: y"}),
            Part::kException);
  EXPECT_THAT(tracebacks.frames(), ElementsAre("  File \"b.py\", line 2, in h"));
  EXPECT_EQ(read(tracebacks, {"RuntimeError: without frames"}), Part::kException);
  EXPECT_THAT(tracebacks.frames(), IsEmpty());
}

TEST(Tracebacks, ALogMayBeginWithinAFrame) {
  Tracebacks tracebacks;
  EXPECT_EQ(read(tracebacks, {"x/y.py\", line 7, in f", "    raise KeyError", "KeyError: 'x'"}),
            Part::kException);
  EXPECT_THAT(tracebacks.frames(), ElementsAre("x/y.py\", line 7, in f"));
  EXPECT_EQ(tracebacks.read("see \"x/y.py\", line 7, in f"), Part::kOutside);
}

TEST(Tracebacks, RichsBoxHoldsFramesToo) {
  Tracebacks tracebacks;
  EXPECT_EQ(read(tracebacks, {"╭─── Traceback (most recent call last) ───╮",
                              "│ /x/torch/utils/data/_utils/fetch.py:49 in fetch │",
                              "│ ❱  49 │   data = self.dataset[i] │", "╰──────╯", "KeyError: 'x'"}),
            Part::kException);
  EXPECT_THAT(tracebacks.frames(),
              ElementsAre("│ /x/torch/utils/data/_utils/fetch.py:49 in fetch │"));
}

TEST(Tracebacks, OneThatTheLogCutsOffNamesWhatItsLastLineRaises) {
  const std::vector<std::string_view> start{"  File \"a.py\", line 1, in f"};
  const auto cut_off = [&](std::vector<std::string_view> further) {
    Tracebacks tracebacks;
    read(tracebacks, start);
    read(tracebacks, further);
    return tracebacks.cut_off();
  };
  EXPECT_EQ(cut_off({"    raise AttributeError"}), "AttributeError");
  EXPECT_EQ(cut_off({"    raise ValueError(f\"no {x}\")"}), "ValueError");
  EXPECT_EQ(cut_off({"    assert x > 0"}), "AssertionError");
  EXPECT_EQ(cut_off({"    assert x > 0", "assert x > 0"}), "AssertionError") << "of two ranks";
  EXPECT_EQ(cut_off({"    assert x > 0", "x is 1"}), std::nullopt) << "the program went on";
  EXPECT_EQ(cut_off({"    g(x,"}), "") << "it does not say";
  EXPECT_EQ(cut_off({"    g(x,", "  Fi"}), "") << "cut within a line";
  EXPECT_EQ(cut_off({"    g(x,", "KeyError: 'x'"}), std::nullopt) << "it is complete";
  EXPECT_EQ(cut_off({"    g(x,", "step 7 done"}), std::nullopt) << "the program went on";
}

TEST(Tracebacks, OneThatIsCutOffTellsLessThanTheExceptionThatLedToIt) {
  const auto cut_off = [](std::string_view between, std::string_view last) {
    Tracebacks tracebacks;
    read(tracebacks,
         {"  File \"a.py\", line 1, in f", "    g()", "RuntimeError: x", "", between, "",
          "Traceback (most recent call last):", "  File \"b.py\", line 2, in h", last});
    return tracebacks.cut_off();
  };
  for (const std::string_view between :
       {"The above exception was the direct cause of the following exception:",
        "During handling of the above exception, another exception occurred:"}) {
    EXPECT_EQ(cut_off(between, "    f("), std::nullopt);
    EXPECT_EQ(cut_off(between, "    raise KeyError(x)"), "KeyError");
  }
  EXPECT_EQ(cut_off("the program went on", "    f("), "");
}

TEST(Tracebacks, ALaunchersAndFaulthandlersAreNotTheProgramsOwn) {
  for (const std::string_view frame :
       {"  File \"/x/torch/distributed/run.py\", line 794, in main",
        "  File \"/x/ray/_private/worker.py\", line 2667, in get",
        "  File \"/x/threading.py\", line 324 in wait",
        "  File \"/x/torch/distributed/c10d_logger.py\", line 7, in wrapper",
        "  File \"<unknown>\", line 0, in c10::f()"}) {
    Tracebacks tracebacks;
    read(tracebacks, {frame, "    run(args)"});
    EXPECT_EQ(tracebacks.cut_off(), std::nullopt) << frame;
  }
}

}  // namespace
}  // namespace megalaunch
