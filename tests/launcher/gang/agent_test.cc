#include "launcher/gang/agent.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>

#include <boost/asio/io_context.hpp>
#include <nlohmann/json.hpp>

#include "launcher/gang/journal.h"
#include "launcher/gang/leader.h"
#include "launcher/gang/message.h"
#include "launcher/ranks/log_pump.h"
#include "launcher/ranks/process_tree.h"
#include "launcher/ranks/reaper.h"
#include "launcher/results/gpu_monitor.h"
#include "tests/lib/processes.h"
#include "tests/lib/temp_dir.h"

namespace megalaunch {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

/// A whole gang in one process: the leader, real agents, real ranks that are shell scripts. Every
/// agent has a folder of its own, named after its node, as working directory.
class AgentTest : public testing::Test {
 protected:
  AgentTest() { ::prctl(PR_SET_CHILD_SUBREAPER, 1); }
  ~AgentTest() override {
    agents_.clear();
    leader_.reset();
    ::prctl(PR_SET_CHILD_SUBREAPER, 0);
  }

  void lead(int nodes, uint16_t port = 0) {
    Leader::Options options;
    options.bind_address = "127.0.0.1";
    options.port = port;
    options.store_threads = 1;
    options.version = "1";
    options.job = options.run_name = "job";
    options.log_dir = dir_.path() / "logs";
    options.heartbeat_timeout = heartbeat_;
    options.make_command = make_command_;
    options.show = [this](Console::Stream, std::string_view prefix, std::string_view line) {
      shown_ += fmt::format("{}{}\n", prefix, line);
      return true;
    };
    options.coordinator.nodes = nodes;
    options.coordinator.join_timeout = join_timeout_;
    options.coordinator.grace = 5s;
    options.coordinator.prepare = prepare_ != nullptr;
    options.coordinator.restarts.backoff = 0ms;
    auto started = Leader::start(context_, clock_, log_, rules_, std::move(options),
                                 [this](int code) { leader_code_ = code; });
    ASSERT_TRUE(started) << started.error().message;
    leader_ = std::move(*started);
    port_ = leader_->port();
  }

  /// A node whose ranks all run this script.
  Agent& add(int node, const std::string& script, int ranks = 1) {
    Agent::Options options;
    options.version = "1";
    options.job = "job";
    options.leader_host = options.master_addr = "127.0.0.1";
    options.leader_port = port_;
    options.node_rank = node;
    options.join_timeout = join_timeout_;
    options.heartbeat_timeout = heartbeat_;
    options.grace = 5s;
    options.pause_limit = pause_limit_;
    options.gpus = gpus_;
    options.ranks = ranks;
    options.program = "/bin/sh";
    options.argv = {"sh", "-c", script};
    options.cwd = folder(node);
    std::filesystem::create_directories(options.cwd);
    options.environment.set("PATH", "/usr/bin:/bin");
    options.marker = marker(node);
    options.prepare = prepare_;
    options.node_0_shows = [this](int rank, int) { return rank == node_0_shows_; };
    options.log_cap = log_cap_;
    codes_.resize(std::max(codes_.size(), static_cast<size_t>(node) + 1));
    agents_.push_back(std::make_unique<Agent>(
        context_, reaper_, clock_, log_, pump_, std::move(options),
        [this, node](int code) { codes_[static_cast<size_t>(node)] = code; }));
    agents_.back()->start();
    return *agents_.back();
  }
  std::filesystem::path folder(int node) const { return dir_.path() / std::to_string(node); }
  std::string marker(int node) const {
    return fmt::format("MEGALAUNCH_AGENT={}-{}", dir_.path().filename().string(), node);
  }

  template <class Done>
  bool until(Done done) {
    return run_until(context_, done, 30s);
  }
  /// The exit code that all agents and the leader leave with.
  std::optional<int> end() {
    const bool over = until([&] {
      return leader_code_ && std::all_of(codes_.begin(), codes_.end(),
                                         [](const auto& code) { return code.has_value(); });
    });
    EXPECT_TRUE(over) << log_text_;
    for (const auto& code : codes_) EXPECT_EQ(code, leader_code_) << log_text_;
    for (size_t node = 0; node < codes_.size(); ++node)
      EXPECT_TRUE(processes_with_variable(marker(static_cast<int>(node))).empty());
    return leader_code_;
  }
  bool exists(int node, const std::string& name) {
    return std::filesystem::exists(folder(node) / name);
  }

  TempDir dir_;
  boost::asio::io_context context_;
  Reaper reaper_{context_};
  SystemClock clock_;
  std::string log_text_;
  Log log_ = Log::to_function(
      [this](Log::Level, std::string_view line) { log_text_.append(line).append(1, '\n'); });
  UniqueFd null_{::open("/dev/null", O_WRONLY | O_CLOEXEC)};
  LogPump pump_{null_.get(), null_.get()};
  const CauseRules rules_ = CauseRules::built_in();
  milliseconds heartbeat_{3000};
  milliseconds pause_limit_{0};
  Agent::Options::GpuCheck gpus_;
  milliseconds join_timeout_{20'000};
  decltype(Agent::Options::prepare) prepare_;
  decltype(Leader::Options::make_command) make_command_;
  int node_0_shows_ = -1;
  LogCap log_cap_;
  std::string shown_;  ///< by node 0, of other nodes
  uint16_t port_ = 0;
  std::unique_ptr<Leader> leader_;
  std::vector<std::unique_ptr<Agent>> agents_;
  std::optional<int> leader_code_;
  std::vector<std::optional<int>> codes_;
};

TEST_F(AgentTest, AJobOfTwoNodesSucceeds) {
  lead(2);
  const std::string script =
      "echo $RANK/$WORLD_SIZE $LOCAL_RANK/$LOCAL_WORLD_SIZE $GROUP_RANK "
      "$TORCHELASTIC_RESTART_COUNT > rank.$LOCAL_RANK";
  add(1, script, 2);
  add(0, script, 1);
  EXPECT_EQ(end(), 0);
  EXPECT_EQ(read_file(folder(0) / "rank.0"), "0/3 0/1 0 0\n");
  EXPECT_EQ(read_file(folder(1) / "rank.0"), "1/3 0/2 1 0\n");
  EXPECT_EQ(read_file(folder(1) / "rank.1"), "2/3 1/2 1 0\n");
}

TEST_F(AgentTest, Node0ShowsChosenRanksOfOtherNodes) {
  node_0_shows_ = 2;
  lead(2);
  add(0, "echo of node 0; until [ -e ../go ]; do sleep 0.05; done");
  add(1, "echo hello of $RANK; until [ -e ../go ]; do sleep 0.05; done", 2);
  EXPECT_TRUE(until([&] { return shown_ == "[1:2] hello of 2\n"; })) << shown_;
  dir_.write("go", "");
  EXPECT_EQ(end(), 0);
}

TEST_F(AgentTest, ARankThatFloodsNode0IsCutShortAndTheJobGoesOn) {
  node_0_shows_ = 1;
  heartbeat_ = 2000ms;
  lead(2);
  const std::string wait = "until [ -e ../go ]; do sleep 0.05; done";
  add(0, wait);
  add(1, "yes 'a line that is printed without end' | head -n 300000; " + wait);
  EXPECT_TRUE(until([&] { return shown_.find("lines of rank 1 left out]") != shown_.npos; }));
  EXPECT_LT(shown_.size(), 2u << 20);
  dir_.write("go", "");
  EXPECT_EQ(end(), 0);
}

TEST_F(AgentTest, WhatTheCapOfALogDroppedIsSaidAndInTheJournal) {
  log_cap_ = {1 << 20, 0};
  lead(2);
  add(0, "true");
  // It waits until its log is cut.
  add(1,
      "log=$(readlink /proc/$$/fd/1); "
      "yes some text | head -n 1000000; "
      "until [ $(du -k $log | cut -f 1) -lt 1000 ]; do sleep 0.05; done");
  EXPECT_EQ(end(), 0);
  EXPECT_THAT(log_text_, HasSubstr("the caps of its log files dropped"));
  EXPECT_THAT(read_file(dir_.path() / "logs" / leader_->identity().run_id / "events.jsonl"),
              testing::ContainsRegex("node 1.*generation 0: the caps of its log files dropped "
                                     "[1-9][0-9]* lines.*logs_dropped"));
}

TEST_F(AgentTest, TheFailedRanksCodeIsEverybodysAndItsPeersAreStopped) {
  lead(2);
  add(0, "exec sleep 600", 2);
  add(1, "exit 7");
  EXPECT_EQ(end(), 7);
}

TEST_F(AgentTest, AKilledRankStartsTheWholeGangAgainInTheNextGeneration) {
  lead(2);
  add(0, "echo $TORCHELASTIC_RESTART_COUNT >> starts");
  add(1,
      "echo $TORCHELASTIC_RESTART_COUNT >> starts; "
      "test $TORCHELASTIC_RESTART_COUNT = 1 || kill -KILL $$");
  EXPECT_EQ(end(), 0);
  EXPECT_EQ(read_file(folder(1) / "starts"), "0\n1\n");
  EXPECT_THAT(read_file(folder(0) / "starts"), HasSubstr("1\n"));
}

TEST_F(AgentTest, ARankThatIsStoppedAndDoesNotGoOnIsAFailureThatARestartCures) {
  pause_limit_ = 50ms;
  lead(2);
  const std::string waits = "test $TORCHELASTIC_RESTART_COUNT = 1 || exec sleep 600";
  add(0, waits);
  add(1, "test $TORCHELASTIC_RESTART_COUNT = 1 || kill -STOP $$");
  EXPECT_EQ(end(), 0);
  EXPECT_THAT(log_text_, HasSubstr("was stopped by SIGSTOP (19) and waits for SIGCONT; unless that "
                                   "comes within 0.05 s, the rank counts as failed"));
  const auto journal = Journal::load(dir_.path() / "logs");
  ASSERT_TRUE(journal && *journal);
  EXPECT_THAT((*journal)->last_failure, HasSubstr("was stopped by SIGSTOP (19)"));
  const auto report = nlohmann::json::parse(
      read_file(dir_.path() / "logs" / (*journal)->run_id / "attempt_0" / "report.json"));
  EXPECT_EQ(report["kind"], "signal") << report;
  EXPECT_EQ(report["rule"], "paused") << report;
}

TEST_F(AgentTest, ARankThatIsStoppedForAWhileIsSaidEverywhereAndHarmsNothing) {
  pause_limit_ = 600s;
  lead(2);
  const std::string script = "echo $$ > pid; until test -e go; do sleep 0.01; done";
  add(0, script);
  add(1, script);
  ASSERT_TRUE(
      until([&] { return pid_in(folder(0) / "pid") > 0 && pid_in(folder(1) / "pid") > 0; }));
  const pid_t pid = pid_in(folder(1) / "pid");
  const auto said = [&](const std::string& what) {
    const std::string line = fmt::format("rank 1 (local rank 0, pid {}) on node 1", pid);
    size_t count = 0;
    for (size_t at = 0; (at = log_text_.find(line, at)) != std::string::npos; ++at)
      count += log_text_.substr(at, log_text_.find('\n', at) - at).find(what) != std::string::npos;
    return count;
  };
  ::kill(pid, SIGSTOP);
  ASSERT_TRUE(until([&] { return said("was stopped by SIGSTOP") == 2; }))
      << log_text_;  // both nodes
  ::kill(pid, SIGCONT);
  ASSERT_TRUE(until([&] { return said("goes on after") == 2; })) << log_text_;
  for (const int node : {0, 1}) std::ofstream(folder(node) / "go");
  EXPECT_EQ(end(), 0);
}

TEST_F(AgentTest, TheNextGenerationWaitsUntilTheDriverHasReleasedTheGpusOfTheLast) {
  bool held = true;
  gpus_.after_life_of = 0ms;
  gpus_.patience = 600s;
  gpus_.holders = [&]() -> std::vector<GpuHolder> {
    const GpuHolder somebody_elses{0, 1};
    if (!held) return {somebody_elses};
    return {somebody_elses, {3, pid_in(folder(0) / "pid")}};
  };
  lead(1);
  add(0, "test $TORCHELASTIC_RESTART_COUNT = 1 || { echo $$ > pid; kill -KILL $$; }");
  ASSERT_TRUE(until([&] {
    return log_text_.find("waiting for the driver to release GPU 3") != std::string::npos;
  }));
  const pid_t pid = pid_in(folder(0) / "pid");
  EXPECT_THAT(log_text_, HasSubstr(fmt::format("which process {} held", pid)));
  EXPECT_THAT(log_text_, testing::Not(HasSubstr("generation 1: started")));
  held = false;
  EXPECT_EQ(end(), 0);
}

TEST_F(AgentTest, AGpuThatIsNeverReleasedIsSaidAndNotWaitedForForever) {
  gpus_.after_life_of = 0ms;
  gpus_.patience = 100ms;
  gpus_.holders = [&]() -> std::vector<GpuHolder> { return {{3, pid_in(folder(0) / "pid")}}; };
  lead(1);
  add(0, "test $TORCHELASTIC_RESTART_COUNT = 1 || { echo $$ > pid; kill -KILL $$; }");
  EXPECT_EQ(end(), 0);
  EXPECT_THAT(log_text_, HasSubstr("GPU 3 is still held by process"));
}

TEST_F(AgentTest, AProgramThatCannotBeStartedEndsTheJobEverywhere) {
  lead(2);
  add(0, "exec sleep 600");
  std::filesystem::create_directories(folder(1));
  add(1, "true");
  // Its folder is gone when the ranks are to start.
  std::filesystem::remove_all(folder(1));
  EXPECT_EQ(end(), 1);
  EXPECT_THAT(log_text_, HasSubstr("enter its folder: No such file or directory"));
}

TEST_F(AgentTest, ACommandOfNode0GoesToEveryNode) {
  make_command_ = [&](const Welcome&, int generation) -> Result<RankCommand> {
    return RankCommand{{"sh", "-c", "echo $WORD > word"},
                       {{"WORD", fmt::format("generation {}", generation)}},
                       dir_.path().string()};
  };
  lead(2);
  add(0, "exit 9");
  add(1, "exit 9");
  EXPECT_EQ(end(), 0);
  EXPECT_EQ(read_file(dir_.path() / "word"), "generation 0\n");
}

TEST_F(AgentTest, ACommandThatCannotBeComputedEndsTheJobAndStartsNothing) {
  make_command_ = [](const Welcome&, int) -> Result<RankCommand> {
    return fail(Error::Kind::kSystem, "the newest checkpoint cannot be read");
  };
  lead(2);
  add(0, "touch started");
  add(1, "touch started");
  EXPECT_EQ(end(), 1);
  EXPECT_THAT(log_text_, HasSubstr("the newest checkpoint cannot be read"));
  EXPECT_FALSE(exists(0, "started") || exists(1, "started"));
}

TEST_F(AgentTest, AMissingNodeEndsTheJobWith145) {
  join_timeout_ = 300ms;
  lead(2);
  add(0, "true");
  EXPECT_EQ(end(), 145);
  EXPECT_THAT(log_text_, HasSubstr("1 of 2 nodes are here"));
}

TEST_F(AgentTest, AnInterruptedAgentStopsTheWholeGang) {
  lead(2);
  const std::string script =
      "trap 'echo saved > saved; exit 0' TERM; echo 1 > ready; "
      "while :; do sleep 0.01; done";
  Agent& first = add(0, script);
  add(1, script);
  ASSERT_TRUE(until([&] { return exists(0, "ready") && exists(1, "ready"); }));
  first.interrupt(SIGTERM);
  EXPECT_EQ(end(), 143);
  EXPECT_TRUE(exists(0, "saved") && exists(1, "saved"));
}

TEST_F(AgentTest, WhenThePlatformSignalsEveryNodeTheRanksStillHaveTheirGrace) {
  lead(2);
  const std::string script =
      "trap 'sleep 0.5; echo saved > saved; exit 0' TERM; echo 1 > ready; "
      "while :; do sleep 0.01; done";
  Agent& first = add(0, script);
  Agent& second = add(1, script);
  ASSERT_TRUE(until([&] { return exists(0, "ready") && exists(1, "ready"); }));
  first.interrupt(SIGTERM);
  second.interrupt(SIGTERM);
  EXPECT_EQ(end(), 143);
  EXPECT_TRUE(exists(0, "saved") && exists(1, "saved"));
}

TEST_F(AgentTest, ASecondSignalStopsAtOnce) {
  lead(1);
  Agent& agent = add(0, "trap '' TERM; echo 1 > ready; while :; do sleep 0.01; done");
  ASSERT_TRUE(until([&] { return exists(0, "ready"); }));
  const auto before = std::chrono::steady_clock::now();
  agent.interrupt(SIGINT);
  agent.interrupt(SIGINT);
  EXPECT_EQ(end(), 130);
  EXPECT_LT(std::chrono::steady_clock::now() - before, 4s);
}

TEST_F(AgentTest, AnAgentThatIsLostStopsTheOthersUntilItsReplacementIsHere) {
  lead(2);
  const std::string script =
      "echo $TORCHELASTIC_RESTART_COUNT > ready; test $TORCHELASTIC_RESTART_COUNT != 0 || "
      "exec sleep 600";
  add(0, script);
  add(1, script);
  ASSERT_TRUE(until([&] { return exists(0, "ready") && exists(1, "ready"); }));
  agents_.pop_back();  // with its ranks, as the warden would see to
  add(1, script);
  EXPECT_EQ(end(), 0);
  EXPECT_EQ(read_file(folder(0) / "ready"), "1\n");
}

TEST_F(AgentTest, WhenNode0ComesBackTheRunGoesOnInTheNextGeneration) {
  lead(2);
  const std::string script =
      "echo $TORCHELASTIC_RESTART_COUNT > ready; test $TORCHELASTIC_RESTART_COUNT != 0 || "
      "exec sleep 600";
  add(0, script);
  add(1, script);
  ASSERT_TRUE(until([&] { return exists(0, "ready") && exists(1, "ready"); }));
  const std::string run_id = leader_->identity().run_id;
  leader_.reset();
  lead(2, port_);
  EXPECT_EQ(leader_->identity().run_id, run_id);
  EXPECT_EQ(end(), 0);
  EXPECT_EQ(read_file(folder(1) / "ready"), "1\n");
}

TEST_F(AgentTest, AnAgentInterruptedWhileNode0IsGoneLeavesOnceItsRanksHaveStopped) {
  lead(2);
  const std::string script = "echo 1 > ready; exec sleep 600";
  add(0, script);
  Agent& second = add(1, script);
  ASSERT_TRUE(until([&] { return exists(0, "ready") && exists(1, "ready"); }));
  leader_.reset();
  ASSERT_TRUE(until([&] { return log_text_.find("lost node 0") != std::string::npos; }));
  second.interrupt(SIGTERM);
  const auto before = std::chrono::steady_clock::now();
  EXPECT_TRUE(until([&] { return codes_[1].has_value(); }));
  EXPECT_EQ(codes_[1], 143);
  EXPECT_LT(std::chrono::steady_clock::now() - before, 4s);
}

TEST_F(AgentTest, StepsThatStillRunWhenNode0ComesBackAreNotRunTwiceAtATime) {
  int running = 0, runs = 0;
  std::vector<std::function<void(Status)>> waiting;
  prepare_ = [&](const Welcome&, bool, std::function<void(Status)> done) {
    ++runs;
    EXPECT_EQ(++running, 1);
    waiting.push_back([&, done](Status status) {
      --running;
      done(std::move(status));
    });
  };
  lead(1);
  add(0, "true");
  ASSERT_TRUE(until([&] { return runs == 1; }));
  leader_.reset();
  ASSERT_TRUE(until([&] { return log_text_.find("lost node 0") != std::string::npos; }));
  lead(1, port_);
  const auto joins = [&] {
    size_t count = 0;
    for (size_t at = 0; (at = log_text_.find("joined run", at)) != std::string::npos; ++at) ++count;
    return count;
  };
  ASSERT_TRUE(until([&] { return joins() == 2; }));
  for (size_t next = 0; !leader_code_;) {
    ASSERT_TRUE(until([&] { return next < waiting.size() || leader_code_; }));
    if (next < waiting.size()) std::exchange(waiting[next++], nullptr)({});
  }
  EXPECT_EQ(end(), 0);
  EXPECT_EQ(runs, 3) << "the old order's, then first and each of the new one";
}

TEST_F(AgentTest, TheJournalTellsTheCourseOfTheRun) {
  lead(1);
  add(0, "test $TORCHELASTIC_RESTART_COUNT = 1 || kill -KILL $$");
  EXPECT_EQ(end(), 0);
  const auto journal = Journal::load(dir_.path() / "logs");
  ASSERT_TRUE(journal && *journal);
  EXPECT_EQ((*journal)->exit_code, 0);
  EXPECT_EQ((*journal)->generation, 1);
  EXPECT_THAT((*journal)->last_failure, HasSubstr("SIGKILL"));
  std::istringstream lines(read_file(dir_.path() / "logs" / (*journal)->run_id / "events.jsonl"));
  std::vector<std::string> events;
  for (std::string line; std::getline(lines, line);)
    events.push_back(nlohmann::json::parse(line)["event"]);
  EXPECT_THAT(events, testing::ElementsAre("joined", "generation", "running", "stopping", "restart",
                                           "generation", "running", "end", "ended"));
}

TEST_F(AgentTest, APortInUseIsToldWithWhoHasIt) {
  lead(1);
  Leader::Options options;
  options.bind_address = "127.0.0.1";
  options.port = port_;
  options.job = options.run_name = "job";
  options.log_dir = dir_.path() / "other";
  auto second = Leader::start(context_, clock_, log_, rules_, std::move(options), [](int) {});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().kind, Error::Kind::kUsage);
  EXPECT_THAT(second.error().message, HasSubstr(fmt::format("port {}", port_)));
  EXPECT_THAT(second.error().message, HasSubstr(std::to_string(::getpid())));
}

}  // namespace
}  // namespace megalaunch
