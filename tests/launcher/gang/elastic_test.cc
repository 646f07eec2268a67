#include <gtest/gtest.h>

#include "launcher/gang/coordinator.h"
#include "tests/lib/manual_clock.h"

namespace megalaunch {
namespace {

/// A coordinator for one to three nodes of two ranks, and what it orders.
class Elastic : public testing::Test {
 protected:
  static Coordinator::Settings settings() {
    Coordinator::Settings settings;
    settings.nodes = 3;
    settings.min_nodes = 1;
    settings.last_call = seconds(30);
    settings.restarts.any_cause = true;
    settings.restarts.max = 5;
    return settings;
  }

  int join(const std::string& host) {
    MemberDetails details;
    details.host = host;
    details.ranks = 2;
    const int node = coordinator.join(details, "10.0.0.1").value().node_rank;
    coordinator.joined(node);
    return node;
  }

  /// The start orders since the last call, by node.
  std::map<int, StartOrder> started() {
    std::map<int, StartOrder> orders;
    for (const auto& action : coordinator.take_actions())
      if (const auto* send = std::get_if<Coordinator::Send>(&action))
        if (const auto* start = std::get_if<StartOrder>(&send->order)) orders[send->node] = *start;
    return orders;
  }

  /// Time passes and the coordinator is woken when it asked to be.
  void pass(seconds time) {
    clock.advance(time);
    if (const auto due = coordinator.deadline(); due && *due <= clock.steady()) coordinator.tick();
  }

  void fail_generation(std::initializer_list<int> nodes) {
    const int generation = coordinator.generation();
    Evidence evidence;
    evidence.end = Exited{7};
    evidence.node_rank = *nodes.begin();
    coordinator.hear(*nodes.begin(), FailedNews{generation, evidence});
    for (const int node : nodes) coordinator.hear(node, StoppedNews{generation, {evidence}});
  }

  ManualClock clock;
  CauseRules rules = CauseRules::built_in();
  Coordinator coordinator{settings(), rules, clock};
};

TEST_F(Elastic, WaitsForMoreThanTheLeastUntilTheLastCallEnds) {
  join("a");
  pass(seconds(29));
  EXPECT_TRUE(started().empty());
  pass(seconds(1));
  const auto orders = started();
  ASSERT_EQ(orders.size(), 1U);
  EXPECT_EQ(orders.at(0).world_size, 2);
  EXPECT_EQ(orders.at(0).nodes, 1);
}

TEST_F(Elastic, StartsAtOnceWhenAllAreThere) {
  join("a");
  join("b");
  EXPECT_TRUE(started().empty());
  join("c");
  const auto orders = started();
  ASSERT_EQ(orders.size(), 3U);
  EXPECT_EQ(orders.at(2).first_rank, 4);
  EXPECT_EQ(orders.at(2).group_rank, 2);
  EXPECT_EQ(orders.at(2).nodes, 3);
}

TEST_F(Elastic, TheLastCallBeginsAnewWhenTheLeastIsNotThereAnyMore) {
  const int node = join("a");
  pass(seconds(20));
  coordinator.left(node, "gone");
  pass(seconds(20));
  join("a");
  pass(seconds(20));
  EXPECT_TRUE(started().empty());
  pass(seconds(10));
  EXPECT_EQ(started().size(), 1U);
}

TEST_F(Elastic, ForALateNodeAllRanksStartAgainAndThatCountsAsNoRestart) {
  join("a");
  pass(seconds(30));
  EXPECT_EQ(started().size(), 1U);
  const int late = join("b");
  EXPECT_EQ(coordinator.phase(), Coordinator::Phase::kStopping);
  EXPECT_TRUE(started().empty());
  // Its ranks may have failed because they were stopped.
  Evidence evidence;
  evidence.end = Exited{7};
  coordinator.hear(0, FailedNews{0, evidence});
  coordinator.hear(0, StoppedNews{0, {evidence}});
  EXPECT_EQ(coordinator.history().restarts, 0);
  const auto orders = started();
  ASSERT_EQ(orders.size(), 2U);
  EXPECT_EQ(orders.at(late).nodes, 2);
  EXPECT_EQ(orders.at(late).first_rank, 2);
  EXPECT_EQ(orders.at(late).generation, 1);
}

TEST_F(Elastic, ARestartOfTheSameNodesNeedsNoLastCall) {
  join("a");
  join("b");
  pass(seconds(30));
  EXPECT_EQ(started().size(), 2U);
  fail_generation({0, 1});
  EXPECT_EQ(started().size(), 2U);
}

TEST_F(Elastic, GoesOnWithFewerAfterALossOnceTheLastCallHasEnded) {
  join("a");
  join("b");
  join("c");
  EXPECT_EQ(started().size(), 3U);
  coordinator.left(1, "gone");
  coordinator.hear(0, StoppedNews{0, {}});
  coordinator.hear(2, StoppedNews{0, {}});
  EXPECT_TRUE(started().empty());
  pass(seconds(30));
  const auto orders = started();
  ASSERT_EQ(orders.size(), 2U);
  // Ranks of nodes have no gaps, whatever the places of the nodes.
  EXPECT_EQ(orders.at(2).group_rank, 1);
  EXPECT_EQ(orders.at(2).first_rank, 2);
  EXPECT_EQ(orders.at(2).world_size, 4);
}

TEST_F(Elastic, ALateNodeThatIsGoneAgainHoldsUpNobody) {
  join("a");
  pass(seconds(30));
  started();
  coordinator.left(join("b"), "gone");
  coordinator.hear(0, StoppedNews{0, {}});
  EXPECT_EQ(started().size(), 1U);
  EXPECT_EQ(coordinator.generation(), 1);
}

TEST_F(Elastic, ANodeThatComesWhenSomeAreDoneStopsNobodyAndEndsWithThem) {
  join("a");
  join("b");
  pass(seconds(30));
  started();
  coordinator.hear(0, SucceededNews{0});
  const int late = join("c");
  EXPECT_EQ(coordinator.phase(), Coordinator::Phase::kRunning);
  coordinator.hear(1, SucceededNews{0});
  EXPECT_EQ(coordinator.phase(), Coordinator::Phase::kEnding);
  bool told = false;
  for (const auto& action : coordinator.take_actions())
    if (const auto* send = std::get_if<Coordinator::Send>(&action); send && send->node == late)
      if (const auto* end = std::get_if<EndOrder>(&send->order)) told = end->exit_code == 0;
  EXPECT_TRUE(told);
}

TEST_F(Elastic, AnInterruptionEndsTheJobAlsoWhileALateNodeIsAdmitted) {
  join("a");
  pass(seconds(30));
  started();
  join("b");
  coordinator.hear(0, InterruptedNews{15});
  coordinator.hear(0, StoppedNews{0, {}});
  EXPECT_EQ(coordinator.phase(), Coordinator::Phase::kEnding);
}

TEST(HostRank, IsKeptForTheAgentBesideTheCoordinatorWhoeverComesFirst) {
  Coordinator::Settings settings;
  settings.nodes = 2;
  settings.host_rank = 0;
  const ManualClock clock;
  const CauseRules rules = CauseRules::built_in();
  Coordinator coordinator(settings, rules, clock);
  MemberDetails quick, host;
  quick.host = "quick";
  host.host = "host";
  host.node_rank = 0;
  EXPECT_EQ(coordinator.join(quick, "10.0.0.2").value().node_rank, 1);
  EXPECT_EQ(coordinator.join(host, "127.0.0.1").value().node_rank, 0);
}

TEST(AnyCause, EveryFailureIsRetriedUpToTheCountAndTheCodeIsTheRanksOwn) {
  RestartLimits limits;
  limits.any_cause = true;
  limits.max = 1;
  Verdict verdict;
  verdict.kind = CauseKind::kConfig;  // never retried otherwise
  const auto first = decide_restart(limits, {}, verdict, Exited{200}, {});
  EXPECT_TRUE(std::holds_alternative<Retry>(first.action));
  EXPECT_EQ(first.history.restarts, 1);
  const auto second = decide_restart(limits, first.history, verdict, Exited{200}, {});
  EXPECT_EQ(std::get<End>(second.action).exit_code, 200);
  EXPECT_EQ(
      std::get<End>(decide_restart(limits, first.history, verdict, Signaled{9, false}, {}).action)
          .exit_code,
      137);
  EXPECT_EQ(std::get<End>(decide_restart(limits, first.history, verdict, LostNode{}, {}).action)
                .exit_code,
            1);
}

}  // namespace
}  // namespace megalaunch
