#include "env/unique_fd.h"

#include <fcntl.h>
#include <gtest/gtest.h>

namespace megalaunch {
namespace {

int some_fd() {
  return ::open("/dev/null", O_RDONLY | O_CLOEXEC);
}
bool is_open(int fd) {
  return ::fcntl(fd, F_GETFD) >= 0;
}

TEST(UniqueFd, ClosesWhatItOwns) {
  int fd = -1;
  {
    const UniqueFd owner(some_fd());
    fd = owner.get();
    EXPECT_TRUE(owner);
    EXPECT_TRUE(is_open(fd));
  }
  EXPECT_FALSE(is_open(fd));
}

TEST(UniqueFd, AnEmptyOneOwnsNothing) {
  const UniqueFd empty;
  EXPECT_FALSE(empty);
  EXPECT_EQ(empty.get(), -1);
}

TEST(UniqueFd, MovingLeavesTheOldOneEmptyAndClosesWhatTheNewOneHad) {
  UniqueFd first(some_fd()), second(some_fd());
  const int kept = first.get(), closed = second.get();
  second = std::move(first);
  EXPECT_FALSE(first);  // NOLINT(bugprone-use-after-move): that is what is tested
  EXPECT_EQ(second.get(), kept);
  EXPECT_TRUE(is_open(kept));
  EXPECT_FALSE(is_open(closed));
  UniqueFd& same = second;
  second = std::move(same);
  EXPECT_TRUE(is_open(kept));
}

TEST(UniqueFd, ReleaseGivesItAway) {
  UniqueFd owner(some_fd());
  const int fd = owner.release();
  owner.reset();
  EXPECT_TRUE(is_open(fd));
  ::close(fd);
}

}  // namespace
}  // namespace megalaunch
