#include "launcher/ranks/log_rotator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <fstream>
#include <mutex>

#include "tests/lib/processes.h"
#include "tests/lib/temp_dir.h"

namespace megalaunch {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr uint64_t kCap = 1 << 20;

int nothing_can_be_freed(int, int, off_t, off_t) {
  errno = EOPNOTSUPP;
  return -1;
}

class LogRotatorTest : public testing::Test {
 protected:
  std::shared_ptr<RankLog> log(const std::string& name, int keep,
                               RankLog::Fallocate fallocate = nullptr) {
    dir_.write(name, "");
    return *RankLog::open(dir_.path() / name, {kCap, keep}, fallocate);
  }
  void append(const std::string& name, size_t lines) {
    std::string text;
    for (size_t i = 0; i < lines; ++i) text += std::string(99, 'x') + "\n";
    std::ofstream(dir_.path() / name, std::ios::app | std::ios::binary) << text;
  }
  std::vector<std::string> warnings() {
    const std::lock_guard lock(mutex_);
    return warnings_;
  }

  TempDir dir_;
  std::mutex mutex_;
  std::vector<std::string> warnings_;
  LogRotator rotator_{[this](const std::string& text) {
    const std::lock_guard lock(mutex_);
    warnings_.push_back(text);
  }};
};

TEST_F(LogRotatorTest, AFileThatGrowsPastItsCapIsRotatedAndWhatWasDroppedIsCounted) {
  const auto out = log("out", 0), err = log("err", 1);
  rotator_.add(out);
  rotator_.add(err);
  append("out", 20'000);
  append("err", 12'000);
  ASSERT_TRUE(wait_until([&] { return out->begin() > 0 && err->begin() > 0; }));
  const DroppedLog dropped = rotator_.clear();
  EXPECT_EQ(dropped.bytes, out->begin());
  EXPECT_EQ(dropped.lines, out->begin() / 100);
  EXPECT_THAT(warnings(), IsEmpty());
  EXPECT_EQ(rotator_.clear().bytes, 0u);
}

TEST_F(LogRotatorTest, FilesOfTheNextGenerationAreKeptToTheirCapToo) {
  rotator_.add(log("a", 1));
  rotator_.clear();
  const auto next = log("b", 1);
  rotator_.add(next);
  append("b", 20'000);
  EXPECT_TRUE(wait_until([&] { return next->begin() > 0; }));
}

TEST_F(LogRotatorTest, WhereACapCannotBeKeptItIsSaidOnce) {
  const auto hopeless = log("a", 1, &nothing_can_be_freed), other = log("b", 1);
  append("a", 20'000);
  rotator_.add(hopeless);
  ASSERT_TRUE(wait_until([&] { return !warnings().empty(); }));
  append("a", 20'000);
  append("b", 20'000);
  rotator_.add(other);
  ASSERT_TRUE(wait_until([&] { return other->begin() > 0; }));
  EXPECT_THAT(warnings(), ElementsAre(HasSubstr((dir_.path() / "a").string())));
}

TEST(LogRotator, LooksAgainBeforeAFileCanHavePassedItsCapByMuch) {
  EXPECT_EQ(LogRotator::next_look(0), 50ms);
  EXPECT_EQ(LogRotator::next_look(1 << 30), 1024ms);
  EXPECT_EQ(LogRotator::next_look(~0ULL), 10'000ms);
}

}  // namespace
}  // namespace megalaunch
