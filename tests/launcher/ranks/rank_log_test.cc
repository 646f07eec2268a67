#include "launcher/ranks/rank_log.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <thread>
#include <vector>

#include "launcher/ranks/log_cursor.h"
#include "tests/lib/temp_dir.h"

namespace megalaunch {
namespace {

using testing::HasSubstr;

constexpr uint64_t kCap = 1 << 20;

/// As a file system without the mode, or without either.
int no_collapse(int fd, int mode, off_t offset, off_t length) {
  if ((mode & FALLOC_FL_COLLAPSE_RANGE) == 0) return ::fallocate(fd, mode, offset, length);
  errno = EOPNOTSUPP;
  return -1;
}
int nothing_can_be_freed(int, int, off_t, off_t) {
  errno = EOPNOTSUPP;
  return -1;
}

bool can_collapse(const std::filesystem::path& folder) {
  const auto path = folder / "probe";
  std::ofstream(path) << std::string(64 * 1024, 'x');
  const UniqueFd file(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  return ::fallocate(file.get(), FALLOC_FL_COLLAPSE_RANGE, 0, 4096) == 0;
}

std::string numbered_lines(int from, int to) {
  std::string text;
  for (int i = from; i < to; ++i) text += fmt::format("line {:07} {}\n", i, std::string(80, '.'));
  return text;
}

class RankLogTest : public testing::Test {
 protected:
  /// Empty at first, like a rank's file.
  std::filesystem::path log_path(const std::filesystem::path& folder) {
    const auto path = folder / "stdout.log";
    std::ofstream(path, std::ios::app).flush();
    return path;
  }
  static void append(const std::filesystem::path& path, std::string_view text) {
    std::ofstream(path, std::ios::app | std::ios::binary) << text;
  }
  /// `cat PATH.n ... PATH.1 PATH`, without the hole at the beginning of PATH.
  static std::string all_parts(const std::filesystem::path& path, const RankLog& log) {
    std::string text;
    for (int number = 9; number > 0; --number)
      if (const auto part = fmt::format("{}.{}", path.string(), number);
          std::filesystem::exists(part))
        text += read_file(part);
    const std::string file = read_file(path);
    const uint64_t held = log.end() - log.begin();
    EXPECT_EQ(file.substr(0, file.size() - held), std::string(file.size() - held, '\0'));
    return text + file.substr(file.size() - held);
  }
  static void rotate_all(RankLog& log) {
    while (log.is_over_its_cap()) {
      const auto rotated = log.rotate();
      ASSERT_TRUE(rotated) << rotated.error().message;
    }
  }
  static std::string through_a_cursor(const std::shared_ptr<RankLog>& log) {
    LogCursor cursor(log);
    std::vector<char> buffer;
    std::string text;
    for (;;) {
      const auto lines = cursor.read(buffer, /*at_end=*/true);
      if (lines.empty()) return text;
      text += lines;
    }
  }

  TempDir dir_;
};

TEST_F(RankLogTest, WithoutACapNothingEverHappens) {
  const auto path = log_path(dir_.path());
  const auto log = *RankLog::open(path);
  append(path, numbered_lines(0, 11'500));
  EXPECT_FALSE(log->is_over_its_cap());
}

TEST_F(RankLogTest, BelowItsCapAFileStaysAsItIs) {
  const auto path = log_path(dir_.path());
  const auto log = *RankLog::open(path, {kCap, 2});
  append(path, std::string(kCap, 'x'));
  EXPECT_FALSE(log->is_over_its_cap());
  append(path, "x");
  EXPECT_TRUE(log->is_over_its_cap());
}

TEST_F(RankLogTest, ThePartsAndTheFileAreTogetherWhatWasWritten) {
  const auto path = log_path(dir_.path());
  const auto log = *RankLog::open(path, {kCap, 6});
  std::string written;
  for (int i = 0; i < 3; ++i) {
    const std::string text = numbered_lines(i * 11'500, (i + 1) * 11'500);
    append(path, text);
    written += text;
    ASSERT_TRUE(log->is_over_its_cap());
    rotate_all(*log);
    EXPECT_EQ(all_parts(path, *log), written);
  }
  EXPECT_EQ(through_a_cursor(log), written);
  EXPECT_EQ(log->end(), written.size());
  EXPECT_EQ(log->freeze().bytes, 0u);
}

TEST_F(RankLogTest, TheEndOfTheFileStaysInTheFile) {
  const auto path = log_path(dir_.path());
  const auto log = *RankLog::open(path, {kCap, 1});
  const std::string text = numbered_lines(0, 11'500);
  append(path, text);
  ASSERT_TRUE(log->rotate());
  const std::string left = read_file(path);
  ASSERT_GE(left.size(), RankLog::kTail);
  EXPECT_EQ(left.substr(left.size() - RankLog::kTail), text.substr(text.size() - RankLog::kTail));
}

TEST_F(RankLogTest, WhatIsBeyondTheKeptPartsIsDroppedAndCounted) {
  const auto path = log_path(dir_.path());
  const auto log = *RankLog::open(path, {kCap, 2});
  std::string written;
  for (int i = 0; i < 5; ++i) {
    const std::string text = numbered_lines(i * 11'500, (i + 1) * 11'500);
    append(path, text);
    written += text;
    ASSERT_TRUE(log->rotate());
  }
  EXPECT_FALSE(std::filesystem::exists(path.string() + ".3"));
  const std::string left = all_parts(path, *log);
  const DroppedLog dropped = log->freeze();
  EXPECT_EQ(dropped.bytes, written.size() - left.size());
  const auto gone = std::string_view(written).substr(0, dropped.bytes);
  EXPECT_EQ(dropped.lines, static_cast<uint64_t>(std::count(gone.begin(), gone.end(), '\n')));
  EXPECT_GT(dropped.lines, 0u);
  EXPECT_TRUE(written.ends_with(left));
}

TEST_F(RankLogTest, WhatIsTooFarFromTheEndIsNotEvenCopied) {
  const auto path = log_path(dir_.path());
  const auto log = *RankLog::open(path, {kCap, 2});
  const std::string first = numbered_lines(0, 11'500), flood = numbered_lines(11'500, 100'000);
  append(path, first);
  ASSERT_TRUE(log->rotate());
  LogCursor cursor(log);
  std::vector<char> buffer;
  std::string read(cursor.read(buffer, false));
  append(path, flood);
  ASSERT_TRUE(log->rotate());  // the part from before goes with the rest: no gaps
  rotate_all(*log);
  const std::string left = all_parts(path, *log);
  EXPECT_GE(left.size(), 2 * kCap);
  EXPECT_LE(left.size(), 3 * kCap);
  EXPECT_TRUE((first + flood).ends_with(left));
  for (auto lines = cursor.read(buffer, false); !lines.empty(); lines = cursor.read(buffer, false))
    read += lines;
  EXPECT_TRUE(read.ends_with(left));
  const DroppedLog dropped = log->freeze();
  EXPECT_EQ(dropped.bytes, first.size() + flood.size() - left.size());
  EXPECT_EQ(dropped.lines, dropped.bytes / 94);
}

TEST_F(RankLogTest, NothingNeedBeKept) {
  const auto path = log_path(dir_.path());
  const auto log = *RankLog::open(path, {kCap, 0});
  const std::string text = numbered_lines(0, 11'500);
  append(path, text);
  ASSERT_TRUE(log->rotate());
  EXPECT_FALSE(std::filesystem::exists(path.string() + ".1"));
  const std::string left = all_parts(path, *log);
  EXPECT_TRUE(text.ends_with(left));
  EXPECT_EQ(log->freeze().bytes, text.size() - left.size());
}

TEST_F(RankLogTest, ACursorThatIsBehindReadsOnInTheParts) {
  const auto path = log_path(dir_.path());
  const auto log = *RankLog::open(path, {kCap, 2});
  LogCursor cursor(log);
  std::vector<char> buffer;
  const std::string text = numbered_lines(0, 11'500);
  append(path, text);
  std::string read(cursor.read(buffer, false));
  ASSERT_FALSE(read.empty());
  ASSERT_TRUE(log->rotate());
  append(path, "the end\n");
  for (auto lines = cursor.read(buffer, false); !lines.empty(); lines = cursor.read(buffer, false))
    read += lines;
  EXPECT_EQ(read, text + "the end\n");
  EXPECT_EQ(cursor.take_skipped(), 0u);
}

TEST_F(RankLogTest, ACursorThatIsTooFarBehindGoesOnWhereItCanAndKnowsWhatItMissed) {
  const auto path = log_path(dir_.path());
  const auto log = *RankLog::open(path, {kCap, 1});
  LogCursor cursor(log);
  std::string written;
  for (int i = 0; i < 3; ++i) {
    const std::string text = numbered_lines(i * 11'500, (i + 1) * 11'500);
    append(path, text);
    written += text;
    ASSERT_TRUE(log->rotate());
  }
  std::vector<char> buffer;
  std::string read;
  for (auto lines = cursor.read(buffer, false); !lines.empty(); lines = cursor.read(buffer, false))
    read += lines;
  const uint64_t skipped = cursor.take_skipped();
  EXPECT_EQ(skipped, log->freeze().bytes);
  EXPECT_EQ(read, written.substr(skipped));
}

/// A rank that writes as fast as it can while its file is rotated as often as it can be.
void write_without_pause(const std::filesystem::path& folder, RankLog::Fallocate fallocate) {
  const auto path = folder / "stdout.log";
  const UniqueFd rank(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  ASSERT_TRUE(rank);
  const auto log = *RankLog::open(path, {kCap, 1000}, fallocate);
  std::atomic<int> rotations = 0;
  std::atomic<bool> done = false;
  int lines_written = 0;
  std::thread writer([&] {
    for (int i = 0; rotations < 5 || i < 100'000;) {
      std::string text;
      for (const int last = i + 7; i < last; ++i)
        text += fmt::format("{:08} {}\n", i, std::string(static_cast<size_t>(i % 97), 'x'));
      if (::write(rank.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) break;
      lines_written = i;
    }
    done = true;
  });
  LogCursor cursor(log);
  std::vector<char> buffer;
  int next = 0;
  const auto check = [&](std::string_view lines) {
    while (!lines.empty()) {
      const size_t newline = lines.find('\n');
      ASSERT_NE(newline, lines.npos);
      ASSERT_EQ(lines.substr(0, newline),
                fmt::format("{:08} {}", next, std::string(static_cast<size_t>(next % 97), 'x')));
      ++next;
      lines.remove_prefix(newline + 1);
    }
  };
  Status rotated;
  while (!done && rotated && !testing::Test::HasFatalFailure()) {
    if (log->is_over_its_cap()) {
      rotated = log->rotate();
      ++rotations;
    }
    check(cursor.read(buffer, false));
  }
  rotations = 1000;
  writer.join();
  ASSERT_TRUE(rotated) << rotated.error().message;
  for (auto lines = cursor.read(buffer, false); !lines.empty(); lines = cursor.read(buffer, false))
    ASSERT_NO_FATAL_FAILURE(check(lines));
  EXPECT_EQ(next, lines_written) << "lines were lost";

  // And so the files say.
  std::string written;
  for (int number = 999; number > 0; --number)
    if (const auto part = fmt::format("{}.{}", path.string(), number);
        std::filesystem::exists(part))
      written += read_file(part);
  std::string file = read_file(path);
  written += file.substr(file.size() - (log->end() - log->begin()));
  next = 0;
  check(written);
  EXPECT_EQ(next, lines_written) << "lines are not in the files";
}

TEST_F(RankLogTest, AWriterWithoutPauseLosesAndRepeatsNothing) {
  write_without_pause(dir_.path(), nullptr);
}

TEST_F(RankLogTest, NorWhereOnlyHolesCanBeMade) {
  write_without_pause(dir_.path(), &no_collapse);
}

TEST_F(RankLogTest, NorInMemory) {
  std::string folder = "/dev/shm/rank_log_test.XXXXXX";
  if (::mkdtemp(folder.data()) == nullptr) GTEST_SKIP() << "there is no /dev/shm";
  write_without_pause(folder, nullptr);
  std::filesystem::remove_all(folder);
}

TEST_F(RankLogTest, AHoleGivesTheDiskBack) {
  const auto path = log_path(dir_.path());
  const auto log = *RankLog::open(path, {kCap, 0}, &no_collapse);
  for (int i = 0; i < 10; ++i) {
    append(path, numbered_lines(i * 11'500, (i + 1) * 11'500));
    ASSERT_TRUE(log->rotate());
  }
  struct stat info {};
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_GT(static_cast<uint64_t>(info.st_size), 10 * kCap);
  EXPECT_LT(static_cast<uint64_t>(info.st_blocks) * 512, kCap);
}

TEST_F(RankLogTest, ACollapsedFileIsSmall) {
  if (!can_collapse(dir_.path())) GTEST_SKIP() << "this file system cannot collapse a range";
  const auto path = log_path(dir_.path());
  const auto log = *RankLog::open(path, {kCap, 0});
  append(path, numbered_lines(0, 11'500));
  ASSERT_TRUE(log->rotate());
  EXPECT_LT(std::filesystem::file_size(path), kCap);
}

TEST_F(RankLogTest, WhereNothingCanBeFreedTheFileStaysWholeAndTheErrorSaysWhy) {
  const auto path = log_path(dir_.path());
  const auto log = *RankLog::open(path, {kCap, 2}, &nothing_can_be_freed);
  const std::string text = numbered_lines(0, 11'500);
  append(path, text);
  const auto rotated = log->rotate();
  ASSERT_FALSE(rotated);
  EXPECT_EQ(rotated.error().code, EOPNOTSUPP);
  EXPECT_THAT(rotated.error().message, HasSubstr(path.string()));
  EXPECT_EQ(read_file(path), text);
  EXPECT_FALSE(std::filesystem::exists(path.string() + ".0"));
  EXPECT_FALSE(std::filesystem::exists(path.string() + ".1"));
}

TEST_F(RankLogTest, AFullDiskChangesNothingAndTheNextTryMakesItGood) {
  const auto path = log_path(dir_.path());
  const auto log = *RankLog::open(path, {kCap, 2});
  const std::string text = numbered_lines(0, 11'500);
  append(path, text);
  std::filesystem::create_symlink("/dev/full", path.string() + ".0");
  const auto rotated = log->rotate();
  ASSERT_FALSE(rotated);
  EXPECT_EQ(rotated.error().code, ENOSPC);
  EXPECT_EQ(read_file(path), text);
  EXPECT_EQ(through_a_cursor(log), text);
  EXPECT_FALSE(std::filesystem::exists(path.string() + ".1"));
  ASSERT_TRUE(log->rotate());
  EXPECT_EQ(all_parts(path, *log), text);
}

TEST_F(RankLogTest, APartThatCouldNotGetItsNameGetsItNextTime) {
  const auto path = log_path(dir_.path());
  const auto log = *RankLog::open(path, {kCap, 2});
  const std::string first = numbered_lines(0, 11'500), second = numbered_lines(11'500, 23'000);
  append(path, first);
  std::filesystem::create_directory(path.string() + ".1");  // in the way
  std::filesystem::create_directories(path.string() + ".2/full");
  ASSERT_FALSE(log->rotate());
  EXPECT_EQ(through_a_cursor(log), first);
  std::filesystem::remove(path.string() + ".1");
  std::filesystem::remove_all(path.string() + ".2");
  append(path, second);
  ASSERT_TRUE(log->rotate());
  EXPECT_EQ(all_parts(path, *log), first + second);
}

TEST_F(RankLogTest, AfterTheFreezeNothingMoves) {
  const auto path = log_path(dir_.path());
  const auto log = *RankLog::open(path, {kCap, 2});
  const std::string text = numbered_lines(0, 11'500);
  append(path, text);
  log->freeze();
  EXPECT_FALSE(log->rotate());
  EXPECT_EQ(read_file(path), text);
  EXPECT_FALSE(std::filesystem::exists(path.string() + ".0"));
}

}  // namespace
}  // namespace megalaunch
