#include "launcher/job/preparation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include "tests/lib/temp_dir.h"

namespace megalaunch {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder))
    names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

/// Lets this process write no file larger than `bytes`: a full disk for anyone, root included.
class SmallFiles {
 public:
  explicit SmallFiles(rlim_t bytes) {
    ::signal(SIGXFSZ, SIG_IGN);
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit small{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &small);
  }
  ~SmallFiles() { ::setrlimit(RLIMIT_FSIZE, &before_); }

 private:
  rlimit before_{};
};

TEST(Copies, TakeWhatMatchesAndFollowLinks) {
  TempDir dir;
  dir.write("from/a.json", "1");
  dir.write("from/b.txt", "2");
  dir.write("real", "3");
  fs::create_symlink(dir.path() / "real", dir.path() / "from/c.json");
  fs::create_directory(dir.path() / "from/d.json");
  fs::create_directory(dir.path() / "to");
  const auto count = copy_files({{dir.path() / "from", "*.json", dir.path() / "to", true}});
  ASSERT_TRUE(count) << count.error().message;
  EXPECT_EQ(*count, 2);
  EXPECT_EQ(names_in(dir.path() / "to"), (std::vector<std::string>{"a.json", "c.json"}));
  EXPECT_EQ(read_file(dir.path() / "to/c.json"), "3");
  EXPECT_FALSE(fs::is_symlink(dir.path() / "to/c.json"));
}

TEST(Copies, LeaveEqualFilesAlone) {
  TempDir dir;
  dir.write("from/a.json", "same");
  dir.write("to/a.json", "same");
  EXPECT_EQ(copy_files({{dir.path() / "from", "*.json", dir.path() / "to", true}}), 0);
  dir.write("from/a.json", "diff");
  EXPECT_EQ(copy_files({{dir.path() / "from", "*.json", dir.path() / "to", true}}), 1);
  EXPECT_EQ(read_file(dir.path() / "to/a.json"), "diff");
}

TEST(Copies, AFullDiskIsAnErrorAndLeavesTheOldFile) {
  TempDir dir;
  dir.write("from/a.json", std::string(100'000, 'x'));
  dir.write("to/a.json", "old");
  const SmallFiles limit(50'000);
  const auto count = copy_files({{dir.path() / "from", "*.json", dir.path() / "to", true}});
  ASSERT_FALSE(count);
  EXPECT_THAT(count.error().message,
              HasSubstr("cannot write " + (dir.path() / "to/a.json").string()));
  EXPECT_EQ(read_file(dir.path() / "to/a.json"), "old");
  EXPECT_EQ(names_in(dir.path() / "to"), std::vector<std::string>{"a.json"});
}

TEST(Copies, NoMatchIsAnErrorWhereOneIsRequired) {
  TempDir dir;
  fs::create_directory(dir.path() / "to");
  const auto missing = copy_files({{dir.path(), "merges.txt", dir.path() / "to", true}});
  ASSERT_FALSE(missing);
  EXPECT_THAT(missing.error().message, HasSubstr("holds no merges.txt"));
  EXPECT_EQ(copy_files({{dir.path(), "merges.txt", dir.path() / "to", false}}), 0);
  EXPECT_THAT(copy_files({{"/no/such", "*", "/tmp", true}}).error().message,
              HasSubstr("cannot read the folder /no/such"));
}

TEST(Directories, AreMadeWithTheirParentsAndMayBeThere) {
  TempDir dir;
  const std::string deep = dir.path() / "a/b/c/";
  EXPECT_TRUE(make_directories({deep, deep}));
  EXPECT_TRUE(fs::is_directory(deep));
  dir.write("file", "");
  const auto status = make_directories({dir.path() / "file"});
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message, HasSubstr("cannot make the directory"));
}

TEST(Patterns, AStarStandsForAnything) {
  EXPECT_TRUE(matches_pattern("a.json", "*.json"));
  EXPECT_TRUE(matches_pattern(".json", "*.json"));
  EXPECT_TRUE(matches_pattern("merges.txt", "merges.txt"));
  EXPECT_TRUE(matches_pattern("abcbd", "a*b*d"));
  EXPECT_FALSE(matches_pattern("a.json.part", "*.json"));
  EXPECT_FALSE(matches_pattern("b.txt", "a*"));
}

TEST(PrepareMarker, DependsOnTheWholeCommand) {
  const PrepareStep step{{"mc", "cp", "a b"}, {}, {}};
  EXPECT_EQ(prepare_marker_name(step),
            prepare_marker_name({{"mc", "cp", "a b"}, PrepareStep::On::kEach, {}}));
  EXPECT_NE(prepare_marker_name(step), prepare_marker_name({{"mc", "cp", "a", "b"}, {}, {}}));
}

}  // namespace
}  // namespace megalaunch
