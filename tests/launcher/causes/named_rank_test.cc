#include "launcher/causes/named_rank.h"

#include <gtest/gtest.h>

namespace megalaunch {
namespace {

TEST(NamedRank, AMessageNamesItsOwnRank) {
  EXPECT_EQ(rank_named_in("[E x.cpp:828] [Rank 3] Watchdog caught a timeout"), 3);
  EXPECT_EQ(rank_named_in("RuntimeError: Rank 12, node gpu-2, device 4, iteration 7: Unexpected"),
            12);
  EXPECT_EQ(rank_named_in("AssertionError: Rank 3: found NaN in local grad norm"), 3);
  EXPECT_EQ(rank_named_in("Unexpected result 3 on rank 7 at iteration #120"), 7);
  EXPECT_EQ(rank_named_in("ERROR:root:global rank 9: CUDA error: an illegal memory access"), 9);
  EXPECT_EQ(rank_named_in("2024-01-01 ERROR rank=5 CUDA out of memory."), 5);
  EXPECT_EQ(rank_named_in("Rank: 4 | CUDA out of memory"), 4);
  EXPECT_EQ(rank_named_in("RuntimeError: CUDA out of memory on rank 3 (GPU 3)"), 3);
  EXPECT_EQ(rank_named_in("mpirun noticed that process rank 5 with PID 0 exited on signal 9"), 5);
  EXPECT_EQ(rank_named_in("srun: error: gpu-7: task 12: Out Of Memory"), 12);
}

TEST(NamedRank, WhatIsNoProcessOfTheJobIsNotNamed) {
  for (const char* line :
       {"RuntimeError: disagreement between rank0 and rank7: rank0: [291]", "lost rank 3",
        "RuntimeError: on rank 3 and on rank 4", "timeout waiting for rank 3",
        "tp rank 3: out of memory", "local_rank: 3 failed", "ValueError: LoRA rank 16 is too large",
        "RuntimeError: expected rank 4", "RuntimeError: on rank 3d",
        "srun: error: a: tasks 8-15: x", "srun: error: a: task 8-15: x", "a blank 3", "rank",
        "Rank "})
    EXPECT_EQ(rank_named_in(line), std::nullopt) << line;
}

TEST(NamedRank, ARankThatDidNotComeIsAccusedAndIsNotTheSpeaker) {
  for (const char* line :
       {"RuntimeError: [Rank 0]: Ranks 4 failed to pass monitoredBarrier in 9 ms",
        "Rank 4 failed to pass monitoredBarrier in 9 ms",
        "\t   - [4] finished collective #1, but didn't join collective #2 (count",
        " - To our best knowledge, ranks [4] are the lagging ranks that"}) {
    EXPECT_EQ(rank_accused_in(line), 4) << line;
    EXPECT_EQ(rank_named_in(line), std::nullopt) << line;
  }
}

TEST(NamedRank, OfSeveralNoneIsAccused) {
  for (const char* line : {"[Rank 0]: Ranks 4, 5 failed to pass monitoredBarrier in 9 ms",
                           " - [4, 5] finished collective #1, but didn't join collective #2",
                           " - [0, 1] joined but didn't finish collective #730",
                           "ranks [4, 5] are the lagging ranks", "[4] finished collective #1"})
    EXPECT_EQ(rank_accused_in(line), std::nullopt) << line;
}

}  // namespace
}  // namespace megalaunch
