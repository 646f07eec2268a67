#include "launcher/job/launch_plan.h"

#include <gtest/gtest.h>

namespace megalaunch {
namespace {

Job job_of(const std::string& more) {
  auto loaded =
      parse_job("version: 1\ncommand: [a]\n" + more, "/jobs/a.yaml", Variables(), {}, "/start");
  EXPECT_TRUE(loaded.job) << (loaded.errors.empty() ? "" : loaded.errors.front().to_string());
  return loaded.job.value_or(Job{});
}

LaunchPlan plan_of(const std::string& more, const Variables& environment = {}) {
  auto planned = plan_launch(job_of(more), environment, {});
  EXPECT_TRUE(planned.plan) << (planned.errors.empty() ? "" : planned.errors.front().to_string());
  return planned.plan.value_or(LaunchPlan{});
}

TEST(LaunchPlan, WithoutOutputLogsLieBelowTheWorkdir) {
  const LaunchPlan plan = plan_of("");
  EXPECT_EQ(plan.cwd, "/start");
  EXPECT_EQ(plan.output, std::nullopt);
  EXPECT_EQ(plan.log_dir, "/start/logs");
}

TEST(LaunchPlan, RelativePathsStartAtTheWorkdir) {
  const LaunchPlan plan = plan_of("workdir: below/\noutput: out\n");
  EXPECT_EQ(plan.cwd, "/start/below");
  EXPECT_EQ(plan.output, "/start/below/out");
  EXPECT_EQ(plan.log_dir, "/start/below/out/logs");
}

TEST(LaunchPlan, OutputComesFromTheFileElseFromThePlatform) {
  Variables environment;
  environment.set("OUTPUT_DIR", "/platform");
  EXPECT_EQ(plan_of("", environment).log_dir, "/platform/logs");
  EXPECT_EQ(plan_of("output: /mine\n", environment).log_dir, "/mine/logs");
  EXPECT_EQ(plan_of("output: /mine\nlogs: {dir: /elsewhere}\n", environment).log_dir, "/elsewhere");
}

TEST(LaunchPlan, TheLaunchSectionStandsAboveThePlatform) {
  const LaunchPlan plan = plan_of("launch: {nodes: 2, ranks_per_node: 3, endpoint: \"h:9\"}\n");
  EXPECT_EQ(plan.nodes, 2);
  EXPECT_EQ(plan.ranks_per_node, 3);
  EXPECT_EQ(plan.endpoint, (Endpoint{"h", 9}));
  EXPECT_EQ(plan.node_rank, std::nullopt);
}

TEST(LaunchPlan, AMissingVariableIsAnErrorOfTheEnvironment) {
  const auto planned =
      plan_launch(job_of("platform: tianqing\n"),
                  Variables({{"WORLD_SIZE", "2"}, {"TQ_GPU_NUM", "8"}, {"MASTER_PORT", "1"}}), {});
  ASSERT_EQ(planned.errors.size(), 1u);
  EXPECT_EQ(planned.errors.front().key, "MASTER_ADDR");
  EXPECT_EQ(planned.errors.front().to_string().find("environment: MASTER_ADDR is not set"), 0u);
}

}  // namespace
}  // namespace megalaunch
