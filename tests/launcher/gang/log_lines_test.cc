#include "launcher/gang/log_lines.h"

#include <gtest/gtest.h>

namespace megalaunch {
namespace {

struct Taken {
  std::optional<int> rank, local_rank;
  std::string node;
  std::string text;
  bool operator==(const Taken&) const = default;
};
void PrintTo(const Taken& t, std::ostream* out) {
  *out << "rank " << t.rank.value_or(-1) << " local " << t.local_rank.value_or(-1) << " node '"
       << t.node << "' text '" << t.text << "'";
}

Taken take(std::string_view line) {
  const LineLabel label = take_prefixes(line);
  return {label.rank, label.local_rank, label.node, std::string(line)};
}

TEST(LogLines, TheUsualPrefixesSayWhoseLineItIs) {
  EXPECT_EQ(take("[default3]:hello"), (Taken{{}, 3, "", "hello"}));
  EXPECT_EQ(take("[default4]:[rank20]: Traceback"), (Taken{20, 4, "", "Traceback"}));
  EXPECT_EQ(take("[rank3]:   File \"x\""), (Taken{3, {}, "", "  File \"x\""}));
  EXPECT_EQ(take("[3]: text"), (Taken{3, {}, "", "text"}));
  EXPECT_EQ(take("[1:3] text"), (Taken{3, {}, "1", "text"}));
  EXPECT_EQ(take("[node-1:rank3]: text"), (Taken{3, {}, "node-1", "text"}));
  EXPECT_EQ(take("[10.0.0.7:3]: text"), (Taken{3, {}, "10.0.0.7", "text"}));
  EXPECT_EQ(take("[node1 rank3] text"), (Taken{3, {}, "node1", "text"}));
  EXPECT_EQ(take("[Rank 3] text"), (Taken{3, {}, "", "text"}));
  EXPECT_EQ(take("rank 3: text"), (Taken{3, {}, "", "text"}));
  EXPECT_EQ(take("(rank 3) text"), (Taken{3, {}, "", "text"}));
  EXPECT_EQ(take("worker-1  | text"), (Taken{{}, {}, "worker-1", "text"}));
  EXPECT_EQ(take("[pod/job-worker-3/main] text"), (Taken{{}, {}, "pod/job-worker-3/main", "text"}));
  EXPECT_EQ(take("[1,3]<stderr>:text"), (Taken{3, {}, "", "text"}));
  EXPECT_EQ(take("3: ValueError: x"), (Taken{3, {}, "", "ValueError: x"}));
  EXPECT_EQ(take("worker-1: [rank9]: x"), (Taken{9, {}, "worker-1", "x"}));
  EXPECT_EQ(take("10.0.0.7: [rank9]:   x"), (Taken{9, {}, "10.0.0.7", "  x"}));
  EXPECT_EQ(take("i.train/1 [default0]:[rank8]: x"), (Taken{8, 0, "i.train/1", "x"}));
  EXPECT_EQ(take("  3: [rank3]:   x"), (Taken{3, {}, "", "  x"}));
  EXPECT_EQ(take(" [rank3]:[E1 x] y"), (Taken{3, {}, "", "[E1 x] y"}));
  EXPECT_EQ(take("(Worker pid=7, ip=10.0.0.1) x"),
            (Taken{{}, {}, "Worker pid=7, ip=10.0.0.1", "x"}));
  EXPECT_EQ(take("2019-06-02T16:13:44.884Z: [1,12]<stdout>:x"), (Taken{12, {}, "", "x"}));
  EXPECT_EQ(take("stderr: ValueError: x"), (Taken{{}, {}, "", "ValueError: x"}));
  EXPECT_EQ(take("(raylet, ip=10.0.0.1) x"), (Taken{{}, {}, "raylet, ip=10.0.0.1", "x"}));
  EXPECT_EQ(take("2024-11-07T16:27:21.5Z stderr F [rank1]: x"), (Taken{1, {}, "", "x"}));
  EXPECT_EQ(take("[2024-11-07 16:27:21,123] [3]: x"), (Taken{3, {}, "", "x"}));
  EXPECT_EQ(take("\x1b[31m[rank1]:\x1b[0m x"), (Taken{1, {}, "", " x"}));
}

TEST(LogLines, WhatOnlyLooksLikeAPrefixStays) {
  for (const char* line : {"ValueError: x",
                           "node:1:2 [0] NCCL INFO x",
                           "[E ProcessGroupNCCL.cpp:754] x",
                           "[]",
                           "[",
                           "[:",
                           "1:2",
                           "x: y",
                           "[1] NCCL",
                           "[1]:",
                           "rank 1 and rank 0",
                           "[12:34:56] x",
                           "(a) b",
                           "a/1",
                           "[host:03070] *** x",
                           "13/620 [01:07",
                           "10.0.0.300: x",
                           "/a/1 x",
                           " [x] y",
                           "  x: y",
                           "   13/620 [",
                           "    \"a\": 1",
                           "torch.cuda.OutOfMemoryError: CUDA"})
    EXPECT_EQ(take(line), (Taken{{}, {}, "", line}));
}

TEST(LogLines, LinesAreCountedAsAnEditorDoes) {
  const auto lines = split_log("one\r\ntwo\n\n 1%|\r 2%|\rthree\nfour");
  ASSERT_EQ(lines.size(), 6U);
  EXPECT_EQ(lines[0].text, "one");
  EXPECT_EQ(lines[1].number, 2U);
  EXPECT_EQ(lines[4].text, "three");
  EXPECT_EQ(lines[4].number, 4U);
  EXPECT_EQ(lines[5].number, 5U);
}

TEST(LogLines, AMessageBehindAProgressBarIsALineOfItsOwn) {
  const auto lines = split_log(
      "  2%|#   | 13/620 [01:07<50:20,  4.98s/it][rank4]:[E1 x] y\n"
      " 9%|# | 1/9 [00:01<00:20, 2.5it/s, loss=1]W0526 z\n");
  ASSERT_EQ(lines.size(), 4U);
  EXPECT_TRUE(is_progress(lines[0].text));
  EXPECT_EQ(lines[1].text, "[E1 x] y");
  EXPECT_EQ(lines[1].label.rank, 4);
  EXPECT_EQ(lines[3].text, "W0526 z");
  EXPECT_EQ(lines[3].number, 2U);
}

TEST(LogLines, AMessageNamesItsOwnRankAndOthers) {
  EXPECT_EQ(rank_named_in("[E x.cpp:828] [Rank 3] Watchdog caught a timeout"), 3);
  EXPECT_EQ(rank_named_in("RuntimeError: Rank 12, node gpu-2, device 4, iteration 7: Unexpected"),
            12);
  EXPECT_EQ(rank_named_in("AssertionError: Rank 3: found NaN in local grad norm"), 3);
  EXPECT_EQ(rank_named_in("Unexpected result 3 on rank 7 at iteration #120"), 7);
  EXPECT_EQ(rank_named_in("[Rank 0]: Ranks 4, 5 failed to pass monitoredBarrier"), std::nullopt);
  EXPECT_EQ(rank_named_in("Rank 1 failed to pass monitoredBarrier"), std::nullopt);
}

TEST(LogLines, ProgressIsAnIterationOrAStep) {
  std::optional<long> iteration;
  EXPECT_TRUE(is_progress(
      " iteration      120/    1000 | consumed samples:  122880 | lm loss: 2.1E+00 |", &iteration));
  EXPECT_EQ(iteration, 120);
  EXPECT_TRUE(is_progress("  2%|x  | 13/620 [01:07<50:20,  4.98s/it]"));
  EXPECT_TRUE(is_progress("{'loss': 0.8533, 'grad_norm': 4.8}"));
  EXPECT_FALSE(is_progress("  0%|          | 0/620 [00:00<?, ?it/s]"));
  EXPECT_TRUE(is_progress("Train:  71%|#######1  | 480/672 [6:31:08<2:23:20, 44.79s/it]"));
  EXPECT_FALSE(is_progress("Loading checkpoint shards: 100%|####| 2/2 [00:37<00:00, 18.62s/it]"));
  EXPECT_FALSE(is_progress("setting training iterations to 11920"));
}

TEST(LogLines, ExceptionsEndTracebacks) {
  for (const char* line :
       {"ValueError: x", "AssertionError", "torch.cuda.OutOfMemoryError: CUDA out of memory.",
        "KeyboardInterrupt", "  ValueError: in torchrun's report", "RuntimeError: "})
    EXPECT_TRUE(is_exception(line)) << line;
  for (const char* line :
       {"", "Error handling is on", "    raise ValueError(x)", "see ValueError: x", "Warning: x",
        "12Error: x", "UserWarning: ValueError: x", "no errors here"})
    EXPECT_FALSE(is_exception(line)) << line;
}

TEST(LogLines, ATracebackIsGivenWholeFromAmongOtherRanksLines) {
  const auto lines = split_log(
      "[rank0]: loading\n"
      "[rank1]: Traceback (most recent call last):\n"
      "[rank0]: Traceback (most recent call last):\n"
      "[rank1]:   File \"a.py\", line 1, in <module>\n"
      "[rank1]:     f()\n"
      "[rank0]:   File \"b.py\", line 2\n"
      "[rank1]: KeyError: 'a'\n"
      "\n"
      "[rank1]: During handling of the above exception, another exception occurred:\n"
      "[rank1]: Traceback (most recent call last):\n"
      "[rank1]:   File \"a.py\", line 9, in f\n"
      "[rank1]: ValueError: b\n"
      "[rank1]:     more of the message\n"
      "[rank1]: exit\n");
  size_t index = 0;
  while (lines[index].text != "ValueError: b") ++index;
  const auto matter = lines_that_matter(lines, index);
  ASSERT_EQ(matter.size(), 9U);
  EXPECT_EQ(matter.front(), "Traceback (most recent call last):");
  EXPECT_EQ(matter[3], "KeyError: 'a'");
  EXPECT_EQ(matter.back(), "    more of the message");
}

TEST(LogLines, ATracebackWithoutEndLosesItsMiddle) {
  std::string log = "Traceback (most recent call last):\n";
  for (int i = 0; i < 500; ++i) log += "  File \"a.py\", line " + std::to_string(i) + "\n";
  log += "RecursionError: deep\n";
  const auto lines = split_log(log);
  const auto matter = lines_that_matter(lines, lines.size() - 1, 50);
  EXPECT_EQ(matter.size(), 51U);
  EXPECT_EQ(matter.front(), "Traceback (most recent call last):");
  EXPECT_EQ(matter.back(), "RecursionError: deep");
}

}  // namespace
}  // namespace megalaunch
