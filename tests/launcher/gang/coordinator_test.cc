#include "launcher/gang/coordinator.h"

#include <gmock/gmock.h>

#include "tests/launcher/gang/coordinator_harness.h"

namespace megalaunch {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Phase = Coordinator::Phase;

MemberDetails details_of(const std::string& host, std::optional<int> node_rank = std::nullopt) {
  MemberDetails details;
  details.host = host;
  details.node_rank = node_rank;
  return details;
}

TEST(Coordinator, ANoticeIsKeptAndToldToAllOtherNodes) {
  Gang gang(3);
  gang.run();
  gang.coordinator.hear(1, NoticeNews{"paused", "rank 1 was stopped"});
  gang.take();
  EXPECT_THAT(gang.receivers<TellOrder>(), ElementsAre(0, 2));
  const auto records = gang.all<Coordinator::Record>();
  ASSERT_EQ(records.size(), 1u);
  EXPECT_EQ(records[0].event, "paused");
  EXPECT_EQ(records[0].detail, "rank 1 was stopped");
  EXPECT_EQ(gang.coordinator.phase(), Phase::kRunning);
}

TEST(Coordinator, WhoJoinsWhileTheJobEndsLeavesWithItsExitCode) {  // GC-4
  Gang gang(2);
  gang.run();
  gang.interrupted(1, 15);
  gang.stopped(0);
  gang.stopped(1);
  ASSERT_EQ(gang.coordinator.phase(), Phase::kEnding);
  gang.take();
  gang.coordinator.hear(1, EndedNews{});
  gang.coordinator.left(0, "silent");
  gang.take();
  EXPECT_THAT(gang.all<Coordinator::Finish>(), IsEmpty()) << "node 0 has not heard of the end";
  gang.join(0);
  gang.take();
  gang.expect_end({0}, 143);
  EXPECT_THAT(gang.orders<StartOrder>(), IsEmpty());
  gang.coordinator.hear(0, EndedNews{});
  gang.take();
  ASSERT_EQ(gang.all<Coordinator::Finish>().size(), 1u);
  EXPECT_EQ(gang.all<Coordinator::Finish>()[0].exit_code, 143);
  MemberDetails late;
  EXPECT_FALSE(gang.knock(late));
}

TEST(Coordinator, AFailureThatAnInterruptionOvertakesIsStillReported) {  // GC-3
  Gang gang(1);
  gang.run();
  gang.failed(0);
  gang.interrupted(0, 15);
  gang.stopped(0, gang.evidence(0));
  gang.take();
  const auto judged = gang.all<Coordinator::Judged>();
  ASSERT_EQ(judged.size(), 1u);
  ASSERT_TRUE(judged[0].verdict.first);
  EXPECT_THAT(judged[0].verdict.text, HasSubstr("SIGKILL"));
  gang.expect_end({0}, 143);
}

// --- gathering

TEST(Coordinator, StartsNothingBeforeEveryNodeIsHere) {  // GC-1
  Gang gang(3);
  gang.join(2);
  gang.join(0);
  gang.take();
  EXPECT_THAT(gang.orders<StartOrder>(), IsEmpty());
  EXPECT_EQ(gang.coordinator.phase(), Phase::kGathering);
  gang.join(1);
  gang.take();
  EXPECT_THAT(gang.receivers<StartOrder>(), ElementsAre(0, 1, 2));
  EXPECT_EQ(gang.coordinator.phase(), Phase::kRunning);
}

TEST(Coordinator, StartsNothingBeforeTheLastWelcomeIsOnItsWay) {
  Gang gang(1);
  ASSERT_TRUE(gang.coordinator.join(details_of("host0", 0), "10.0.0.1"));
  EXPECT_EQ(gang.coordinator.phase(), Phase::kGathering);
  gang.coordinator.joined(0);
  EXPECT_EQ(gang.coordinator.phase(), Phase::kRunning);
}

TEST(Coordinator, GlobalRanksFollowNodeRanksAlsoWhenNodesHaveUnequalRanks) {
  Gang gang(3);
  gang.join(2, 4);
  gang.join(1, 1);
  gang.join(0, 8);
  gang.take();
  const auto starts = gang.orders<StartOrder>();
  ASSERT_EQ(starts.size(), 3u);
  EXPECT_EQ(starts[0].second.first_rank, 0);
  EXPECT_EQ(starts[1].second.first_rank, 8);
  EXPECT_EQ(starts[2].second.first_rank, 9);
  for (const auto& [node, start] : starts) EXPECT_EQ(start.world_size, 13);
}

TEST(Coordinator, OpensAKeySpaceForExactlyTheMembersBeforeAnyRankStarts) {  // GC-2
  Gang gang(2);
  gang.join(1);
  gang.join(0);
  gang.take();
  const auto opened = gang.all<Coordinator::OpenGeneration>();
  ASSERT_EQ(opened.size(), 1u);
  EXPECT_EQ(opened[0].generation, 0);
  EXPECT_THAT(opened[0].addresses, ElementsAre("10.0.0.0", "10.0.0.1"));
  bool open = false;
  for (const auto& action : gang.actions) {
    open = open || std::holds_alternative<Coordinator::OpenGeneration>(action);
    const auto* send = std::get_if<Coordinator::Send>(&action);
    if (send && std::holds_alternative<StartOrder>(send->order)) {
      EXPECT_TRUE(open);
    }
  }
}

TEST(Coordinator, RanksMayComeFromAnyAddressOfTheirMachine) {  // GC-2
  Gang gang(1);
  MemberDetails details = details_of("host0", 0);
  details.addresses = {"10.77.0.1", "fd77::1"};
  ASSERT_TRUE(gang.knock(details, "127.0.0.1"));
  gang.take();
  const auto opened = gang.all<Coordinator::OpenGeneration>();
  ASSERT_EQ(opened.size(), 1u);
  EXPECT_THAT(opened[0].addresses, ElementsAre("127.0.0.1", "10.77.0.1", "fd77::1"));
  ASSERT_EQ(gang.orders<StartOrder>().size(), 1u);
  EXPECT_EQ(gang.orders<StartOrder>()[0].second.nodes, 1);
}

TEST(Coordinator, EndsWith145AndNamesWhoIsMissingAtTheJoinTimeOut) {
  Gang gang(4);
  gang.join(0);
  gang.join(2);
  gang.clock.advance(599s);
  gang.coordinator.tick();
  EXPECT_EQ(gang.coordinator.phase(), Phase::kGathering);
  gang.take();
  gang.pass();
  EXPECT_EQ(gang.coordinator.phase(), Phase::kEnding);
  gang.take();
  gang.expect_end({0, 2}, 145);
  for (const auto& [node, end] : gang.orders<EndOrder>()) {
    EXPECT_THAT(end.text, HasSubstr("2 of 4 nodes are here"));
    EXPECT_THAT(end.text, HasSubstr("missing after 600 s: node 1, node 3"));
  }
}

TEST(Coordinator, AMissingNodeThatWasHereBeforeIsNamedWithItsHost) {
  Gang gang(2);
  gang.join(1);
  gang.coordinator.left(1, "closed");
  gang.join(0);
  gang.pass();
  gang.take();
  ASSERT_EQ(gang.orders<EndOrder>().size(), 1u);
  EXPECT_THAT(gang.orders<EndOrder>()[0].second.text, HasSubstr("node 1 (host1)"));
}

TEST(Coordinator, ANodeRankOutsideTheJobIsRefusedForGood) {
  Gang gang(2);
  for (const int rank : {-1, 2, 1 << 30}) {
    const auto welcome = gang.knock(details_of("stranger", rank));
    ASSERT_FALSE(welcome);
    EXPECT_EQ(welcome.error().kind, Error::Kind::kRefused);
    EXPECT_THAT(welcome.error().message, HasSubstr("ranks 0 to 1"));
    EXPECT_THAT(welcome.error().message, HasSubstr("check RANK and WORLD_SIZE"));
  }
}

TEST(Coordinator, TheSecondNodeOfOneRankIsToldWhoHasItAndMayTryAgain) {
  Gang gang(2);
  gang.join(1);
  const auto welcome = gang.knock(details_of("other", 1));
  ASSERT_FALSE(welcome);
  EXPECT_EQ(welcome.error().kind, Error::Kind::kUnavailable);
  EXPECT_THAT(welcome.error().message, HasSubstr("host1 (10.0.0.1, pid 1001)"));
  gang.coordinator.left(1, "silent");
  EXPECT_TRUE(gang.knock(details_of("other", 1)));
}

TEST(Coordinator, OneNodeTooManyIsToldSo) {
  Gang gang(1);
  gang.join(0);
  const auto welcome = gang.knock(details_of("other"));
  ASSERT_FALSE(welcome);
  EXPECT_EQ(welcome.error().kind, Error::Kind::kUnavailable);
  EXPECT_THAT(welcome.error().message, HasSubstr("all 1 nodes of the job are here already"));
}

TEST(Coordinator, NodesWithoutARankGetTheLowestFreeOneInOrderOfArrival) {
  Gang gang(4);
  EXPECT_EQ(gang.knock(details_of("a", 1))->node_rank, 1);
  EXPECT_EQ(gang.knock(details_of("b"))->node_rank, 0);
  EXPECT_EQ(gang.knock(details_of("c"))->node_rank, 2);
  EXPECT_EQ(gang.knock(details_of("d"))->node_rank, 3);
}

TEST(Coordinator, AHostThatComesBackGetsItsOldPlaceAndANewOneAFreshOne) {
  Gang gang(3);
  EXPECT_EQ(gang.knock(details_of("a"))->node_rank, 0);
  EXPECT_EQ(gang.knock(details_of("b"))->node_rank, 1);
  gang.coordinator.left(0, "closed");
  gang.coordinator.left(1, "closed");
  EXPECT_EQ(gang.knock(details_of("c"))->node_rank, 2);  // nobody ever had it
  EXPECT_EQ(gang.knock(details_of("b"))->node_rank, 1);
  EXPECT_EQ(gang.knock(details_of("d"))->node_rank, 0);  // "a" is replaced
}

TEST(Coordinator, TheWelcomeTellsWhatNode0HasChosen) {
  Gang gang(2);
  const auto welcome = gang.knock(details_of("a", 1));
  ASSERT_TRUE(welcome);
  EXPECT_EQ(welcome->node_rank, 1);
  EXPECT_EQ(welcome->nodes, 2);
  EXPECT_EQ(welcome->run_id, "run");
  EXPECT_EQ(welcome->log_dir, "/logs");
}

TEST(Coordinator, ANodeLostWhileGatheringMayBeReplaced) {
  Gang gang(2);
  gang.join(0);
  gang.coordinator.left(0, "silent");
  gang.join(1);
  EXPECT_EQ(gang.coordinator.phase(), Phase::kGathering);
  gang.join(0);
  EXPECT_EQ(gang.coordinator.phase(), Phase::kRunning);
}

// --- the end

TEST(Coordinator, EndsWith0OnAllNodesOnceEveryNodeHasSucceeded) {  // GC-4
  Gang gang(2);
  gang.run();
  gang.succeeded(1);
  gang.take();
  EXPECT_THAT(gang.orders<EndOrder>(), IsEmpty());
  gang.succeeded(0);
  gang.take();
  gang.expect_end({0, 1}, 0);
  EXPECT_THAT(gang.all<Coordinator::Finish>(), IsEmpty());
  gang.coordinator.hear(0, EndedNews{});
  gang.coordinator.hear(1, EndedNews{});
  gang.take();
  ASSERT_EQ(gang.all<Coordinator::Finish>().size(), 1u);
  EXPECT_EQ(gang.all<Coordinator::Finish>()[0].exit_code, 0);
  EXPECT_EQ(gang.coordinator.deadline(), std::nullopt);
}

TEST(Coordinator, SuccessMayComeBeforeTheNewsOfTheStart) {
  Gang gang(1);
  gang.join(0);
  gang.succeeded(0);
  EXPECT_EQ(gang.coordinator.phase(), Phase::kEnding);
}

TEST(Coordinator, DoesNotWaitForeverForAMemberThatNeverReadsTheEnd) {
  Gang gang(2);
  gang.run();
  gang.succeeded(0);
  gang.succeeded(1);
  gang.coordinator.hear(0, EndedNews{});
  gang.pass();
  EXPECT_EQ(gang.coordinator.phase(), Phase::kFinished);
}

TEST(Coordinator, NobodyJoinsAJobThatIsOver) {
  Gang gang(1);
  gang.run();
  gang.succeeded(0);
  gang.coordinator.hear(0, EndedNews{});
  ASSERT_EQ(gang.coordinator.phase(), Phase::kFinished);
  const auto welcome = gang.knock(details_of("late"));
  ASSERT_FALSE(welcome);
  EXPECT_EQ(welcome.error().kind, Error::Kind::kRefused);
  EXPECT_THAT(welcome.error().message, HasSubstr("the job is over"));
}

// --- node 0 comes back

TEST(Coordinator, AfterARestartOfNode0TheNumbersGoOnFromTheJournal) {
  auto settings = Gang::settings_for(1);
  settings.first_generation = 4;
  Gang gang(settings);
  gang.join(0);
  gang.take();
  ASSERT_EQ(gang.orders<StartOrder>().size(), 1u);
  EXPECT_EQ(gang.orders<StartOrder>()[0].second.generation, 4);
}

TEST(Coordinator, AMemberThatKnowsOfALaterGenerationIsBelieved) {  // GC-2
  auto settings = Gang::settings_for(2);
  settings.first_generation = 4;
  Gang gang(settings);
  MemberDetails details = details_of("host1", 1);
  details.run_id = "run";
  details.generation = 6;
  ASSERT_TRUE(gang.knock(details));
  gang.join(0);
  gang.take();
  for (const auto& [node, start] : gang.orders<StartOrder>()) EXPECT_EQ(start.generation, 7);
}

TEST(Coordinator, AMemberOfAnotherRunHasNoSayInTheGeneration) {
  Gang gang(2);
  MemberDetails details = details_of("host1", 1);
  details.run_id = "another run";
  details.generation = 6;
  ASSERT_TRUE(gang.knock(details));
  gang.join(0);
  gang.take();
  for (const auto& [node, start] : gang.orders<StartOrder>()) EXPECT_EQ(start.generation, 0);
}

}  // namespace
}  // namespace megalaunch
