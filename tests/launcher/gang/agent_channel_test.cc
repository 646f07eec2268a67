#include <fcntl.h>
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/prctl.h>

#include <algorithm>

#include "launcher/gang/agent.h"
#include "launcher/gang/message.h"
#include "launcher/gang/run_monitor.h"
#include "launcher/ranks/log_pump.h"
#include "launcher/ranks/reaper.h"
#include "launcher/results/iteration_line.h"
#include "tests/lib/temp_dir.h"
#include "tests/rendezvous/gang/gang_harness.h"

namespace megalaunch {
namespace {

/// A real agent with real ranks, and a test in the place of node 0.
class AgentChannelTest : public testing::Test {
 protected:
  AgentChannelTest() {
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    node_0_.welcome = to_json(Welcome{1, 2, "run", "2024-11-07T16:27:21Z", dir_.path().string()});
  }
  ~AgentChannelTest() override {
    agent_.reset();
    ::prctl(PR_SET_CHILD_SUBREAPER, 0);
  }

  /// Has joined, and all its ranks run this script.
  void run(const std::string& script, int ranks = 1) {
    Agent::Options options = options_;
    options.version = "1";
    options.job = "job";
    options.leader_host = options.master_addr = "127.0.0.1";
    options.leader_port = node_0_.port();
    options.ranks = ranks;
    options.program = "/bin/sh";
    options.argv = {"sh", "-c", script};
    options.cwd = dir_.path();
    options.environment.set("PATH", "/usr/bin:/bin");
    options.marker = "MEGALAUNCH_AGENT=" + dir_.path().filename().string();
    agent_.emplace(context_, reaper_, clock_, Log::to_nowhere(), pump_, std::move(options),
                   [this](int code) { code_ = code; });
    agent_->start();
    ASSERT_TRUE(run_until(context_, [&] { return node_0_.members.size() == 1; }));
    StartOrder start;
    start.world_size = 2 * ranks;
    start.first_rank = ranks;
    node_0_.server->send(node_0_.members[0], to_json(Order(start)));
    ASSERT_TRUE(run_until(context_, [&] { return heard<StartedNews>(); }));
  }

  /// The last news of one kind.
  template <class T>
  std::optional<T> heard() const {
    std::optional<T> last;
    for (const auto& message : node_0_.messages)
      if (const auto news = news_from_json(message); news && std::holds_alternative<T>(*news))
        last = std::get<T>(*news);
    return last;
  }

  TempDir dir_;
  boost::asio::io_context context_;
  const SystemClock clock_;
  Reaper reaper_{context_};
  UniqueFd null_{::open("/dev/null", O_WRONLY | O_CLOEXEC)};
  LogPump pump_{null_.get(), null_.get()};
  TestServer node_0_{context_, {"1", "job", "", seconds(60)}};
  Agent::Options options_;
  std::optional<Agent> agent_;
  std::optional<int> code_;
};

TEST_F(AgentChannelTest, AfterTheEndItLeavesAndNeverKnocksAgainHoweverLongItsRanksTake) {
  run("trap '' TERM; while :; do sleep 1; done", 16);
  node_0_.server->dismiss(node_0_.members[0], to_json(Order(EndOrder{145, "dropped"})),
                          milliseconds(1));
  ASSERT_TRUE(run_until(context_, [&] { return code_.has_value(); }));
  EXPECT_EQ(code_, 145);
  EXPECT_EQ(node_0_.joins.size(), 1u);
}

TEST_F(AgentChannelTest, TellsNode0HowFarTrainingHasComeOnlyWhenItHasGrown) {
  const std::string line = read_file(MEGALAUNCH_TEST_DATA "/results/iteration_lines/line01");
  options_.progress_every = milliseconds(1);
  options_.monitor = std::make_shared<RunMonitor>(clock_, RunMonitor::Options{});
  options_.monitor->start(context_, pump_, Log::to_nowhere());
  run("exec sleep 600");
  EXPECT_FALSE(heard<ProgressNews>());
  options_.monitor->see_line(1, line, clock_.steady());
  ASSERT_TRUE(run_until(context_, [&] { return heard<ProgressNews>(); }));
  EXPECT_EQ(heard<ProgressNews>()->generation, 0);
  EXPECT_EQ(heard<ProgressNews>()->furthest.iteration, parse_iteration_line(line)->iteration);
  EXPECT_FALSE(heard<ProgressNews>()->furthest.checkpoint);
  // What it says later comes behind all that it said before.
  agent_->interrupt(SIGTERM);
  ASSERT_TRUE(run_until(context_, [&] { return heard<StoppedNews>(); }));
  EXPECT_EQ(std::count_if(node_0_.messages.begin(), node_0_.messages.end(),
                          [](const auto& message) { return message["type"] == "progress"; }),
            1);
  options_.monitor->stop();
}

}  // namespace
}  // namespace megalaunch
