#include "env/cgroup.h"

#include <gtest/gtest.h>

#include "tests/lib/temp_dir.h"

namespace megalaunch {
namespace {

constexpr const char* kVersion1 = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";

TEST(Cgroup, CountsTheKillsOfVersion2) {
  TempDir root;
  root.write("proc/self/cgroup", "0::/pod/ours\n");
  root.write("sys/fs/cgroup/pod/ours/memory.events", "low 0\nhigh 5\nmax 7\noom 2\noom_kill 2\n");
  EXPECT_EQ(count_oom_kills(root.path()), 2);
}

TEST(Cgroup, InAContainerTheRootOfTheMountIsOurOwn) {
  TempDir root;
  root.write("proc/self/cgroup", "0::/../elsewhere\n");
  root.write("sys/fs/cgroup/memory.events", "oom_kill 4\n");
  EXPECT_EQ(count_oom_kills(root.path()), 4);
}

TEST(Cgroup, CountsTheKillsOfVersion1) {
  TempDir root;
  root.write("proc/self/cgroup", "5:cpuset:/a\n4:memory:/a\n");
  root.write("sys/fs/cgroup/memory/a/memory.oom_control", kVersion1);
  EXPECT_EQ(count_oom_kills(root.path()), 3);
}

TEST(Cgroup, CountsTheKillsOfACombinedHierarchyOfVersion1) {
  for (const std::string group : {"/a", ""}) {
    TempDir root;
    root.write("proc/self/cgroup", "4:cpu,memory:/a\n");
    root.write("sys/fs/cgroup/cpu,memory" + group + "/memory.oom_control", kVersion1);
    EXPECT_EQ(count_oom_kills(root.path()), 3);
  }
  TempDir linked;
  linked.write("proc/self/cgroup", "4:memory,cpu:/a\n");
  linked.write("sys/fs/cgroup/memory/a/memory.oom_control", kVersion1);
  EXPECT_EQ(count_oom_kills(linked.path()), 3);
}

TEST(Cgroup, SaysNothingWhereNothingCanBeRead) {
  TempDir root;
  EXPECT_EQ(count_oom_kills(root.path()), std::nullopt);
}

}  // namespace
}  // namespace megalaunch
