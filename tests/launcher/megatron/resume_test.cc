#include "launcher/megatron/resume.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launcher/megatron/training.h"
#include "tests/lib/temp_dir.h"

namespace megalaunch {
namespace {

using testing::HasSubstr;

TEST(Resume, WithoutATrackerTheRunStartsFromTheInitialModel) {
  TempDir dir;
  const StartPoint start = find_checkpoint(dir.path() / "missing", true);
  EXPECT_FALSE(start.resume);
  EXPECT_THAT(start.explanation, HasSubstr("has no checkpoint yet"));
}

TEST(Resume, GoesOnFromTheIterationOfTheTrackerWithItsOptimizer) {
  TempDir dir;
  dir.write("latest_checkpointed_iteration.txt", "500\n");
  dir.write("iter_0000500/mp_rank_00/model_optim_rng.pt", "x");
  dir.write("iter_0000500/mp_rank_00/distrib_optim.pt", "x");
  const StartPoint start = find_checkpoint(dir.path(), true);
  ASSERT_TRUE(start.resume);
  EXPECT_TRUE(start.resume->optimizer);
  EXPECT_EQ(start.iteration, 500);
  EXPECT_THAT(start.explanation, HasSubstr("resumes from iteration 500 in " + dir.path().string() +
                                           ", with optimizer"));
}

TEST(Resume, LeavesOutAnOptimizerThatWasNotSaved) {
  TempDir dir;
  dir.write("latest_checkpointed_iteration.txt", "7");
  dir.write("iter_0000007/mp_rank_00/model_optim_rng.pt", "x");
  EXPECT_FALSE(find_checkpoint(dir.path(), true).resume->optimizer);
  EXPECT_TRUE(find_checkpoint(dir.path(), false).resume->optimizer);
  dir.write("iter_0000007/.metadata", "x");
  EXPECT_TRUE(find_checkpoint(dir.path(), true).resume->optimizer);
}

TEST(Resume, ATrackerWithoutItsDirectoryDoesNotCount) {
  TempDir dir;
  dir.write("latest_checkpointed_iteration.txt", "500");
  EXPECT_FALSE(find_checkpoint(dir.path(), true).resume);
  EXPECT_THAT(find_checkpoint(dir.path(), true).explanation, HasSubstr("names iteration 500, but"));
  std::filesystem::create_directory(dir.path() / "iter_0000500");
  EXPECT_THAT(find_checkpoint(dir.path(), true).explanation, HasSubstr("is empty"));
}

TEST(Resume, ABrokenTrackerDoesNotCount) {
  TempDir dir;
  for (const char* text : {"", "latest", "-4", "5x", "99999999999999999999999"}) {
    dir.write("latest_checkpointed_iteration.txt", text);
    EXPECT_FALSE(find_checkpoint(dir.path(), true).resume) << text;
  }
}

TEST(Resume, ARunThatIsNotToldToResumeDoesNot) {
  TempDir dir;
  dir.write("latest_checkpointed_iteration.txt", "500");
  dir.write("iter_0000500/model_optim_rng.pt", "x");
  Training training;
  training.checkpoint_dir = dir.path().string();
  EXPECT_FALSE(find_start_point(training).resume);
  training.resume = true;
  EXPECT_TRUE(find_start_point(training).resume);
}

}  // namespace
}  // namespace megalaunch
