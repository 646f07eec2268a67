#include <gmock/gmock.h>

#include "tests/launcher/gang/coordinator_harness.h"

namespace megalaunch {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using Phase = Coordinator::Phase;

TEST(Coordinator, PreparesTheJobOnNode0ThenEachNodeThenStarts) {
  Gang gang(2, /*prepare=*/true);
  gang.join_all();
  gang.take();
  ASSERT_THAT(gang.receivers<PrepareOrder>(), ElementsAre(0));
  EXPECT_TRUE(gang.orders<PrepareOrder>()[0].second.first);
  gang.coordinator.hear(0, PreparedNews{});
  gang.take();
  EXPECT_THAT(gang.receivers<PrepareOrder>(), ElementsAre(0, 1));
  EXPECT_FALSE(gang.orders<PrepareOrder>()[0].second.first);
  gang.coordinator.hear(1, PreparedNews{});
  EXPECT_EQ(gang.coordinator.phase(), Phase::kPreparing);
  gang.coordinator.hear(0, PreparedNews{});
  gang.take();
  EXPECT_THAT(gang.receivers<StartOrder>(), ElementsAre(0, 1));
}

TEST(Coordinator, DoesNotPrepareAgainForTheNextGeneration) {
  Gang gang(1, /*prepare=*/true);
  gang.join(0);
  gang.coordinator.hear(0, PreparedNews{});
  gang.coordinator.hear(0, PreparedNews{});
  gang.started(0);
  gang.take();
  gang.failed(0);
  gang.stopped(0, gang.evidence(0));
  gang.take();
  EXPECT_THAT(gang.orders<PrepareOrder>(), IsEmpty());
  EXPECT_EQ(gang.coordinator.phase(), Phase::kRunning);
}

TEST(Coordinator, ANodeThatWasNotAskedCannotSayThatTheJobIsPrepared) {
  Gang gang(2, /*prepare=*/true);
  gang.join_all();
  gang.take();
  gang.coordinator.hear(1, PreparedNews{});
  gang.take();
  EXPECT_THAT(gang.orders<PrepareOrder>(), IsEmpty());
}

/// Two nodes with steps to prepare; node 1 was not there when the last call ended.
struct GangThatBeganWithNode0 : Gang {
  GangThatBeganWithNode0() : Gang(settings()) {
    join(0);
    pass();  // the last call
  }
  static Coordinator::Settings settings() {
    auto settings = settings_for(2, /*prepare=*/true);
    settings.min_nodes = 1;
    return settings;
  }
};

/// What was just taken tells node 1 alone to prepare, and nobody starts before it has.
void expect_start_after_the_own_steps_of_node_1(Gang& gang) {
  ASSERT_THAT(gang.receivers<PrepareOrder>(), ElementsAre(1));
  EXPECT_FALSE(gang.orders<PrepareOrder>()[0].second.first);
  EXPECT_THAT(gang.orders<StartOrder>(), IsEmpty());
  gang.coordinator.hear(1, PreparedNews{});
  gang.take();
  EXPECT_THAT(gang.receivers<StartOrder>(), ElementsAre(0, 1));
}

TEST(Coordinator, AReplacedNodeRunsItsOwnStepsAndNobodyElseRunsThemAgain) {
  Gang gang(2, /*prepare=*/true);
  gang.join_all();
  for (const int node : {0, 0, 1}) gang.coordinator.hear(node, PreparedNews{});
  ASSERT_EQ(gang.coordinator.phase(), Phase::kRunning);
  gang.coordinator.left(1, "silent");
  gang.stopped(0);
  gang.take();
  gang.join(1);
  gang.take();
  expect_start_after_the_own_steps_of_node_1(gang);
}

TEST(Coordinator, ANodeThatComesLateRunsItsOwnStepsBeforeTheOthersStartAgainWithIt) {
  GangThatBeganWithNode0 gang;
  for (int steps = 0; steps < 2; ++steps) gang.coordinator.hear(0, PreparedNews{});
  ASSERT_EQ(gang.coordinator.phase(), Phase::kRunning);
  gang.join(1);
  gang.take();
  gang.stopped(0);
  gang.take();
  expect_start_after_the_own_steps_of_node_1(gang);
}

TEST(Coordinator, ANodeThatJoinsWhileOthersPrepareRunsItsOwnStepsAtOnce) {
  GangThatBeganWithNode0 gang;
  gang.coordinator.hear(0, PreparedNews{});
  gang.take();
  gang.join(1);
  gang.take();
  EXPECT_THAT(gang.receivers<PrepareOrder>(), ElementsAre(1));
  gang.coordinator.hear(0, PreparedNews{});
  EXPECT_EQ(gang.coordinator.phase(), Phase::kPreparing);
  gang.coordinator.hear(1, PreparedNews{});
  gang.take();
  EXPECT_THAT(gang.receivers<StartOrder>(), ElementsAre(0, 1));
}

TEST(Coordinator, WithoutNode0AnotherOnePreparesTheJob) {
  auto settings = Gang::settings_for(2, /*prepare=*/true);
  settings.min_nodes = 1;
  Gang gang(settings);
  gang.join(1);
  gang.pass();  // the last call
  gang.take();
  ASSERT_THAT(gang.receivers<PrepareOrder>(), ElementsAre(1));
  EXPECT_TRUE(gang.orders<PrepareOrder>()[0].second.first);
}

TEST(Coordinator, ANodeLostWhilePreparingRunsItsStepsOnceTheOthersHaveDoneTheirs) {
  Gang gang(3, /*prepare=*/true);
  gang.join_all();
  gang.coordinator.hear(0, PreparedNews{});
  gang.coordinator.hear(0, PreparedNews{});
  gang.take();
  gang.coordinator.left(2, "silent");  // node 1 is still at its steps
  EXPECT_EQ(gang.coordinator.phase(), Phase::kGathering);
  gang.join(2);
  gang.take();
  EXPECT_THAT(gang.orders<PrepareOrder>(), IsEmpty()) << "node 1 would run its steps twice at once";
  EXPECT_EQ(gang.coordinator.deadline(), std::nullopt) << "nobody is missing";
  gang.coordinator.hear(1, PreparedNews{});
  gang.take();
  ASSERT_THAT(gang.receivers<PrepareOrder>(), ElementsAre(2));
  EXPECT_FALSE(gang.orders<PrepareOrder>()[0].second.first);
}

TEST(Coordinator, WhileOldStepsRunAnotherLossStartsTheJoinTimeOutAgain) {
  Gang gang(2, /*prepare=*/true);
  gang.join_all();
  gang.coordinator.left(1, "silent");  // node 0 is at its steps
  gang.join(1);
  EXPECT_EQ(gang.coordinator.deadline(), std::nullopt);
  gang.coordinator.left(1, "silent");
  EXPECT_NE(gang.coordinator.deadline(), std::nullopt);
  gang.pass();
  EXPECT_EQ(gang.coordinator.phase(), Phase::kEnding);
}

TEST(Coordinator, AFailedPreparationIsJudgedAndEndsTheJobWhenARetryDoesNotHelp) {
  Gang gang(2, /*prepare=*/true);
  gang.join_all();
  gang.take();
  gang.coordinator.hear(0, FailedNews{0, gang.evidence(0, Exited{1})});
  gang.take();
  ASSERT_EQ(gang.all<Coordinator::Judged>().size(), 1u);
  EXPECT_EQ(gang.all<Coordinator::Judged>()[0].evidence.size(), 1u);
  gang.expect_end({0, 1}, 1);
}

/// Four nodes at their own steps.
class FailedPreparation : public testing::Test {
 protected:
  FailedPreparation() {
    gang.join_all();
    gang.coordinator.hear(0, PreparedNews{});
    gang.take();
  }
  void fails(int node) { gang.coordinator.hear(node, FailedNews{0, gang.evidence(node)}); }

  Gang gang{4, /*prepare=*/true};
};

TEST_F(FailedPreparation, OnAllNodesIsOneFailureAndUsesUpOneRestart) {  // GC-3
  for (int node = 0; node < 4; ++node) fails(node);
  gang.take();
  ASSERT_EQ(gang.all<Coordinator::Judged>().size(), 1u);
  EXPECT_EQ(gang.all<Coordinator::Judged>()[0].evidence.size(), 4u);
  EXPECT_EQ(gang.coordinator.history().since_progress, 1);
  EXPECT_THAT(gang.receivers<PrepareOrder>(), ElementsAre(0, 1, 2, 3));
}

TEST_F(FailedPreparation, IsJudgedWithoutNodesWhoseStepsTakeLong) {
  fails(2);
  EXPECT_EQ(gang.coordinator.phase(), Phase::kPreparing);
  for (const int node : {0, 1}) gang.coordinator.hear(node, PreparedNews{});
  gang.take();
  EXPECT_THAT(gang.all<Coordinator::Judged>(), IsEmpty());
  gang.pass();
  gang.take();
  ASSERT_EQ(gang.all<Coordinator::Judged>().size(), 1u);
  EXPECT_EQ(gang.all<Coordinator::Judged>()[0].evidence[0].node_rank, 2);
  EXPECT_THAT(gang.receivers<PrepareOrder>(), IsEmpty()) << "node 3 is still at its steps";
}

TEST_F(FailedPreparation, ThatIsHeardOnlyAfterTheJudgementUsesUpNoRestartAndIsTriedAgain) {
  fails(2);
  gang.pass();
  ASSERT_EQ(gang.coordinator.history().since_progress, 1);
  gang.coordinator.hear(0, PreparedNews{});
  fails(3);
  gang.take();
  EXPECT_THAT(gang.receivers<PrepareOrder>(), IsEmpty()) << "node 1 is still at its steps";
  gang.coordinator.hear(1, PreparedNews{});
  gang.take();
  EXPECT_EQ(gang.coordinator.history().since_progress, 1);
  EXPECT_THAT(gang.receivers<PrepareOrder>(), ElementsAre(2, 3));
}

TEST_F(FailedPreparation, IsJudgedAlsoWhenTheLastNodeToAnswerIsLost) {
  for (const int node : {0, 1, 2}) fails(node);
  gang.coordinator.left(3, "silent");
  gang.take();
  ASSERT_EQ(gang.all<Coordinator::Judged>().size(), 1u);
  EXPECT_EQ(gang.all<Coordinator::Judged>()[0].evidence.size(), 3u);
  EXPECT_EQ(gang.coordinator.phase(), Phase::kGathering);
}

TEST_F(FailedPreparation, ThatAnInterruptionOvertakesIsStillReported) {
  fails(2);
  gang.interrupted(0, 15);
  gang.take();
  EXPECT_EQ(gang.all<Coordinator::Judged>().size(), 1u);
  gang.expect_end({0, 1, 2, 3}, 143);
}

}  // namespace
}  // namespace megalaunch
