#include "launcher/results/checkpoint_line.h"

#include <gtest/gtest.h>

#include <string>

namespace megalaunch {
namespace {

TEST(CheckpointLine, MegatronsOldAndNewForms) {
  EXPECT_EQ(parse_checkpoint_line(
                "  successfully saved checkpoint at iteration     100 to /mnt/checkpoint"),
            100);
  EXPECT_EQ(parse_checkpoint_line("  successfully saved checkpoint from iteration     200 to /ckpt "
                                  "[ t 1/4, p 1/2 ]\n"),
            200);
  EXPECT_EQ(
      parse_checkpoint_line("[default0]:2024-11-07T16:27:21 INFO [rank 0]   successfully saved "
                            "checkpoint from iteration 1234567 to /ckpt"),
      1234567);
}

TEST(CheckpointLine, DeepSpeedsForm) {
  EXPECT_EQ(parse_checkpoint_line(
                "[2023-05-02 21:50:41,123] [INFO] [torch_checkpoint_engine.py:33:commit] "
                "[Torch] Checkpoint global_step1000 is ready now!"),
            1000);
}

TEST(CheckpointLine, AnythingElseIsNone) {
  for (const char* line :
       {"", "saving checkpoint at iteration     100 to /ckpt in torch format",
        "  successfully loaded checkpoint from /ckpt at iteration 100",
        "  successfully saved checkpoint from iteration", "successfully saved checkpoint of rank 3",
        "  successfully saved checkpoint from iteration -5 to /ckpt",
        "  successfully saved checkpoint from iteration 99999999999999999999 to /ckpt",
        "[Torch] Checkpoint global_step1000 is about to be saved!", "Checkpoint global_step"})
    EXPECT_FALSE(parse_checkpoint_line(line)) << line;
  EXPECT_FALSE(parse_checkpoint_line(std::string(200, 'x') +
                                     "successfully saved checkpoint from iteration 5 to /ckpt"));
}

}  // namespace
}  // namespace megalaunch
