#include <gmock/gmock.h>

#include "tests/launcher/gang/coordinator_harness.h"

namespace megalaunch {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using Phase = Coordinator::Phase;

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
  ASSERT_EQ(gang.orders<EndOrder>().size(), 4u);
  EXPECT_EQ(gang.orders<EndOrder>()[0].second.exit_code, 143);
}

}  // namespace
}  // namespace megalaunch
