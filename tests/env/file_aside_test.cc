#include "env/file_aside.h"

#include <gmock/gmock.h>

#include "tests/lib/full_disk.h"
#include "tests/lib/temp_dir.h"

namespace megalaunch {
namespace {

using testing::HasSubstr;

std::ptrdiff_t files_in(const std::filesystem::path& folder) {
  return std::distance(std::filesystem::directory_iterator(folder), {});
}

TEST(ReplaceFile, ReplacesTheWholeFileAndLeavesNothingBeside) {
  const TempDir dir;
  const auto path = dir.write("file", "a long old text");
  ASSERT_TRUE(replace_file(path, "new"));
  EXPECT_EQ(read_file(path), "new");
  EXPECT_EQ(files_in(dir.path()), 1);
}

TEST(ReplaceFile, AFullDiskLeavesTheOldFileAndNothingBeside) {
  const TempDir dir;
  const auto path = dir.write("file", "old");
  Status status;
  {
    const FullDisk full;
    status = replace_file(path, "a new text that has no room");
  }
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message, HasSubstr("cannot write " + path.string() + ": "));
  EXPECT_EQ(read_file(path), "old");
  EXPECT_EQ(files_in(dir.path()), 1);
}

TEST(ReplaceFile, AFolderThatIsNotThereIsNamed) {
  const Status status = replace_file("/nonexistent/file", "text");
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message,
              HasSubstr("cannot write /nonexistent/file: No such file or directory"));
}

TEST(FileAside, SeveralOfOneTargetDoNotMeet) {
  const TempDir dir;
  const auto path = dir.path() / "file";
  auto one = FileAside::open(path);
  auto other = FileAside::open(path);
  ASSERT_TRUE(one && other);
  ASSERT_TRUE(one->write("one"));
  ASSERT_TRUE(other->write("other"));
  ASSERT_TRUE(other->sync());
  ASSERT_TRUE(other->commit());
  EXPECT_EQ(read_file(path), "other");
  ASSERT_TRUE(one->commit());
  EXPECT_EQ(read_file(path), "one");
}

TEST(FileAside, VanishesWhenItIsNotCommitted) {
  const TempDir dir;
  {
    auto file = FileAside::open(dir.path() / "file");
    ASSERT_TRUE(file && file->write("text"));
  }
  EXPECT_EQ(files_in(dir.path()), 0);
}

}  // namespace
}  // namespace megalaunch
