#include "launcher/causes/line_label.h"

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

TEST(LineLabel, TheUsualPrefixesSayWhoseLineItIs) {
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
  EXPECT_EQ(take("18:11:06.680 [rank4]:   File \"x\""), (Taken{4, {}, "", "  File \"x\""}));
  EXPECT_EQ(take("llama.cn-d004 [stderr]   File \"x\""),
            (Taken{{}, {}, "llama.cn-d004", "  File \"x\""}));
  EXPECT_EQ(take("(Policy[rank=8] pid=7, ip=10.0.0.7) x"),
            (Taken{8, {}, "Policy[rank=8] pid=7, ip=10.0.0.7", "x"}));
  EXPECT_EQ(take("worker-1: [rank9]: x"), (Taken{9, {}, "worker-1", "x"}));
  EXPECT_EQ(take("10.0.0.7: [rank9]:   x"), (Taken{9, {}, "10.0.0.7", "  x"}));
  EXPECT_EQ(take("i.train/1 [default0]:[rank8]: x"), (Taken{8, 0, "i.train/1", "x"}));
  EXPECT_EQ(take("  | 2024-08-23T22:22:58.879Z | [rank3]:   x"), (Taken{3, {}, "", "  x"}));
  EXPECT_EQ(take("| 2024 | x"), (Taken{{}, {}, "", "| 2024 | x"}));
  EXPECT_EQ(take("\t[rank3]:   x"), (Taken{3, {}, "", "  x"}));
  EXPECT_EQ(take("    [rank3]: x"), (Taken{3, {}, "", "x"}));
  EXPECT_EQ(take("    [3]: x"), (Taken{{}, {}, "", "    [3]: x"}))
      << "a list in a program's source";
  EXPECT_EQ(take("  3: [rank3]:   x"), (Taken{3, {}, "", "  x"}));
  EXPECT_EQ(take(" [rank3]:[E1 x] y"), (Taken{3, {}, "", "[E1 x] y"}));
  EXPECT_EQ(take("(Worker pid=7, ip=10.0.0.1) x"),
            (Taken{{}, {}, "Worker pid=7, ip=10.0.0.1", "x"}));
  EXPECT_EQ(take("(VllmWorker rank=2 pid=7) x"), (Taken{2, {}, "VllmWorker rank=2 pid=7", "x"}));
  EXPECT_EQ(take("node1: [default0]:   x"), (Taken{{}, 0, "node1", "  x"}));
  EXPECT_EQ(take("> [rank1]: x"), (Taken{1, {}, "", "x"}));
  EXPECT_EQ(take("Nov 24 19:35:25 gpu-1 kernel: NVRM: x"), (Taken{{}, {}, "gpu-1", "NVRM: x"}));
  EXPECT_EQ(take("Apr  4 21:02:39 n1 python3[18613]:   x"), (Taken{{}, {}, "n1", "  x"}));
  EXPECT_EQ(take("Apr 14 21:02:39 terminate called"), (Taken{{}, {}, "", "terminate called"}));
  EXPECT_EQ(take("2019-06-02T16:13:44.884Z: [1,12]<stdout>:x"), (Taken{12, {}, "", "x"}));
  EXPECT_EQ(take("stderr: ValueError: x"), (Taken{{}, {}, "", "ValueError: x"}));
  EXPECT_EQ(take("(raylet, ip=10.0.0.1) x"), (Taken{{}, {}, "raylet, ip=10.0.0.1", "x"}));
  EXPECT_EQ(take("2024-11-07T16:27:21.5Z stderr F [rank1]: x"), (Taken{1, {}, "", "x"}));
  EXPECT_EQ(take("(Engine pid=7) ERROR 03-05 00:25:45 [core.py:10]   x"),
            (Taken{{}, {}, "Engine pid=7", "  x"}));
  EXPECT_EQ(take("2025-10-31 03:11:02,478 - Tuner - INFO - [rank0]:   x"),
            (Taken{0, {}, "", "  x"}));
  EXPECT_EQ(take("2025-10-31 03:11:02,478 - root - ERROR - x"), (Taken{{}, {}, "", "x"}));
  EXPECT_EQ(take("        | [rank2]: x"), (Taken{2, {}, "", "x"}));
  EXPECT_EQ(take("[2024-11-07 16:27:21,123] [3]: x"), (Taken{3, {}, "", "x"}));
  EXPECT_EQ(take("\x1b[31m[rank1]:\x1b[0m x"), (Taken{1, {}, "", " x"}));
}

TEST(LineLabel, WhatOnlyLooksLikeAPrefixStays) {
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
                           "- root - INFO - x",
                           "        | x",
                           "   13/620 [",
                           "    \"a\": 1",
                           "torch.cuda.OutOfMemoryError: CUDA"})
    EXPECT_EQ(take(line), (Taken{{}, {}, "", line}));
}

}  // namespace
}  // namespace megalaunch
