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
  EXPECT_EQ(take("(Worker pid=7, ip=10.0.0.1) x"),
            (Taken{{}, {}, "Worker pid=7, ip=10.0.0.1", "x"}));
  EXPECT_EQ(take("2024-11-07T16:27:21.5Z stderr F [rank1]: x"), (Taken{1, {}, "", "x"}));
  EXPECT_EQ(take("[2024-11-07 16:27:21,123] [3]: x"), (Taken{3, {}, "", "x"}));
  EXPECT_EQ(take("\x1b[31m[rank1]:\x1b[0m x"), (Taken{1, {}, "", " x"}));
}

TEST(LogLines, WhatOnlyLooksLikeAPrefixStays) {
  for (const char* line :
       {"ValueError: x", "node:1:2 [0] NCCL INFO x", "[E ProcessGroupNCCL.cpp:754] x", "[]", "[",
        "[:", "1:2", "x: y", "[1] NCCL", "[1]:", "rank 1 and rank 0", "[12:34:56] x", "(a) b",
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
