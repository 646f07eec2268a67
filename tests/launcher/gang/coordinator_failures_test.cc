#include <gmock/gmock.h>

#include <algorithm>

#include "launcher/gang/agent.h"
#include "launcher/ranks/patience.h"
#include "tests/launcher/gang/coordinator_harness.h"

namespace megalaunch {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Phase = Coordinator::Phase;

bool has_lost(const std::vector<Evidence>& all, int node) {
  return std::any_of(all.begin(), all.end(), [node](const Evidence& evidence) {
    return evidence.node_rank == node && evidence.end == RankEnd(LostNode{});
  });
}

// --- stopping

TEST(Coordinator, TheFirstFailureStopsTheGenerationOnEveryNode) {  // GC-3
  Gang gang(3);
  gang.run();
  gang.failed(1, Exited{7});
  EXPECT_EQ(gang.coordinator.phase(), Phase::kStopping);
  gang.take();
  EXPECT_THAT(gang.receivers<StopOrder>(), ElementsAre(0, 1, 2));
  for (const auto& [node, stop] : gang.orders<StopOrder>()) {
    EXPECT_EQ(stop.generation, 0);
    EXPECT_EQ(stop.grace, 30s);
    EXPECT_THAT(stop.reason, HasSubstr("rank 1 on node 1 (host1) failed: exited with code 7"));
  }
}

TEST(Coordinator, LaterFailuresOnlyAddEvidence) {  // GC-3
  Gang gang(3);
  gang.run();
  gang.failed(1);
  gang.take();
  gang.failed(0);
  gang.failed(2);
  gang.take();
  EXPECT_THAT(gang.orders<StopOrder>(), IsEmpty());
  for (const int node : {0, 1, 2}) gang.stopped(node, gang.evidence(node));
  gang.take();
  ASSERT_EQ(gang.all<Coordinator::Judged>().size(), 1u);
  EXPECT_EQ(gang.all<Coordinator::Judged>()[0].evidence.size(), 3u);
}

TEST(Coordinator, JudgesOnlyWhenTheLastNodeHasStopped) {  // GC-1
  Gang gang(3);
  gang.run();
  gang.failed(0);
  gang.stopped(0, gang.evidence(0));
  gang.stopped(2);
  gang.take();
  EXPECT_THAT(gang.all<Coordinator::Judged>(), IsEmpty());
  EXPECT_THAT(gang.orders<StartOrder>(), IsEmpty());
  gang.stopped(1);
  gang.take();
  EXPECT_EQ(gang.all<Coordinator::Judged>().size(), 1u);
  EXPECT_THAT(gang.receivers<StartOrder>(), ElementsAre(0, 1, 2));
  for (const auto& [node, start] : gang.orders<StartOrder>()) EXPECT_EQ(start.generation, 1);
}

TEST(Coordinator, ANodeThatHadSucceededIsStoppedAndWaitedForToo) {
  Gang gang(2);
  gang.run();
  gang.succeeded(1);
  gang.failed(0);
  gang.stopped(0, gang.evidence(0));
  gang.take();
  EXPECT_THAT(gang.all<Coordinator::Judged>(), IsEmpty());
  gang.stopped(1);
  EXPECT_EQ(gang.coordinator.generation(), 1);
}

TEST(Coordinator, ASecondAnswerToTheStopDoesNotWipeOutTheEvidenceOfTheFirst) {
  Gang gang(2);
  gang.run();
  gang.failed(1);  // it could not start its ranks, say, and has stopped by itself
  gang.stopped(1, gang.evidence(1));
  gang.coordinator.hear(1, StoppedNews{0, {}});  // now it answers the order
  gang.stopped(0);
  gang.take();
  ASSERT_EQ(gang.all<Coordinator::Judged>().size(), 1u);
  EXPECT_EQ(gang.all<Coordinator::Judged>()[0].evidence.size(), 2u);
}

TEST(Coordinator, NewsOfAnOlderGenerationAreIgnored) {  // GC-2
  Gang gang(2);
  gang.run();
  gang.failed(0);
  gang.stopped(0, gang.evidence(0));
  gang.stopped(1);
  gang.take();
  ASSERT_EQ(gang.coordinator.generation(), 1);
  gang.coordinator.hear(1, FailedNews{0, gang.evidence(1)});
  gang.coordinator.hear(1, StoppedNews{0, {gang.evidence(1)}});
  gang.coordinator.hear(1, SucceededNews{0});
  gang.coordinator.hear(0, SucceededNews{0});
  gang.coordinator.hear(1, StartedNews{0});
  gang.take();
  EXPECT_THAT(gang.actions, IsEmpty());
  EXPECT_EQ(gang.coordinator.phase(), Phase::kRunning);
}

TEST(Coordinator, GivesANodeTheTimeForAllThatItWaitsForItselfBeforeItIsDropped) {
  Gang gang(2);
  gang.run();
  gang.failed(0);
  gang.stopped(0, gang.evidence(0));
  gang.take();
  // The grace, a process that sits in the kernel, and then a GPU that the driver holds.
  gang.clock.advance(30s + kUninterruptiblePatience + Agent::Options::GpuCheck().patience + 1s);
  gang.coordinator.tick();
  gang.stopped(1);
  gang.take();
  EXPECT_THAT(gang.all<Coordinator::Drop>(), IsEmpty());
  EXPECT_EQ(gang.coordinator.phase(), Phase::kRunning);
}

TEST(Coordinator, DropsANodeThatDoesNotStopAndGoesOnWithoutIt) {
  Gang gang(2);
  gang.run();
  gang.failed(0);
  gang.stopped(0, gang.evidence(0));
  gang.take();
  gang.clock.advance(30s + kStopPatience - 1s);
  gang.coordinator.tick();
  EXPECT_THAT(gang.take(), IsEmpty());
  gang.pass();
  gang.take();
  ASSERT_EQ(gang.all<Coordinator::Drop>().size(), 1u);
  EXPECT_EQ(gang.all<Coordinator::Drop>()[0].node, 1);
  EXPECT_EQ(gang.all<Coordinator::Drop>()[0].exit_code, 145) << "the platform may try elsewhere";
  ASSERT_EQ(gang.all<Coordinator::Judged>().size(), 1u);
  EXPECT_TRUE(has_lost(gang.all<Coordinator::Judged>()[0].evidence, 1));
  EXPECT_EQ(gang.coordinator.phase(), Phase::kGathering);
  gang.join(1);
  EXPECT_EQ(gang.coordinator.phase(), Phase::kRunning);
}

// --- what follows a failure

TEST(Coordinator, WaitsForTheBackoffBeforeTheNextGeneration) {
  auto settings = Gang::settings_for(1);
  settings.restarts.backoff = 5s;
  Gang gang(settings);
  gang.run();
  gang.failed(0);
  gang.stopped(0, gang.evidence(0));
  gang.take();
  EXPECT_THAT(gang.orders<StartOrder>(), IsEmpty());
  EXPECT_EQ(gang.coordinator.deadline(), gang.clock.steady() + 5s);
  gang.clock.advance(4999ms);
  gang.coordinator.tick();
  EXPECT_THAT(gang.take(), IsEmpty());
  gang.clock.advance(1ms);
  gang.coordinator.tick();
  gang.take();
  EXPECT_EQ(gang.orders<StartOrder>().size(), 1u);
}

TEST(Coordinator, AReplacementThatComesDuringTheBackoffStartsNothingEarlier) {
  auto settings = Gang::settings_for(2);
  settings.restarts.backoff = 5s;
  Gang gang(settings);
  gang.run();
  gang.coordinator.left(1, "silent");
  gang.stopped(0);
  gang.join(1);
  EXPECT_EQ(gang.coordinator.phase(), Phase::kGathering);
  gang.pass();
  EXPECT_EQ(gang.coordinator.phase(), Phase::kRunning);
}

TEST(Coordinator, ACauseThatARetryDoesNotCureEndsTheJobWithTheRanksOwnCode) {  // GC-4
  Gang gang(2);
  gang.run();
  gang.failed(1, Exited{7});
  gang.stopped(0);
  gang.stopped(1, gang.evidence(1, Exited{7}));
  gang.take();
  gang.expect_end({0, 1}, 7);
}

TEST(Coordinator, EndsWith144WhenTheRestartsAreSpent) {
  auto settings = Gang::settings_for(1);
  settings.restarts.max = 1;
  Gang gang(settings);
  gang.run();
  for (int attempt = 0; attempt < 2; ++attempt) {
    ASSERT_EQ(gang.coordinator.phase(), Phase::kRunning);
    gang.failed(0);
    gang.stopped(0, gang.evidence(0));
  }
  gang.take();
  gang.expect_end({0}, 144);
}

TEST(Coordinator, EveryNodeIsToldTheReport) {
  Gang gang(2);
  gang.run();
  gang.failed(1);
  gang.stopped(0);
  gang.stopped(1, gang.evidence(1));
  gang.take();
  EXPECT_THAT(gang.receivers<TellOrder>(), ElementsAre(0, 1));
  EXPECT_THAT(gang.orders<TellOrder>()[0].second.text, HasSubstr("SIGKILL"));
}

TEST(Coordinator, TheEvidenceOfOneFailureIsNotJudgedAgainWithTheNext) {
  Gang gang(2, /*prepare=*/true);
  gang.join_all();
  gang.coordinator.hear(0, FailedNews{0, gang.evidence(0)});
  gang.coordinator.hear(0, PreparedNews{});
  gang.take();
  gang.coordinator.hear(0, PreparedNews{});
  gang.coordinator.hear(1, FailedNews{0, gang.evidence(1)});
  gang.take();
  ASSERT_EQ(gang.all<Coordinator::Judged>().size(), 1u);
  ASSERT_EQ(gang.all<Coordinator::Judged>()[0].evidence.size(), 1u);
  EXPECT_EQ(gang.all<Coordinator::Judged>()[0].evidence[0].node_rank, 1);
}

// --- lost nodes

TEST(Coordinator, WhatALostNodeHadToldOfItsProgressCountsAsProgress) {
  auto settings = Gang::settings_for(2);
  settings.restarts.max = 1;
  Gang gang(settings);
  gang.run();
  // Megatron prints its iterations on the last rank, whose node is lost again and again.
  for (int64_t iteration = 100; iteration <= 500; iteration += 100) {
    gang.coordinator.hear(1,
                          ProgressNews{gang.coordinator.generation(), {iteration, std::nullopt}});
    gang.coordinator.left(1, "silent");
    gang.stopped(0);
    ASSERT_EQ(gang.coordinator.phase(), Phase::kGathering) << iteration;
    EXPECT_EQ(gang.coordinator.history().furthest.iteration, iteration);
    EXPECT_EQ(gang.coordinator.history().since_progress, 1);
    gang.join(1);
    for (const int node : {0, 1}) gang.started(node);
  }
  // Iterations that it only repeats are none, nor is what an old generation is said to have done.
  gang.coordinator.hear(1, ProgressNews{gang.coordinator.generation(), {500, std::nullopt}});
  gang.coordinator.hear(1, ProgressNews{gang.coordinator.generation() - 1, {900, 900}});
  gang.coordinator.left(1, "silent");
  gang.stopped(0);
  gang.take();
  gang.expect_end({0}, 144);
}

TEST(Coordinator, ANewerCheckpointIsProgressThoughItsIterationsAreRepeated) {
  Gang gang(2);
  gang.run();
  gang.coordinator.hear(1, ProgressNews{0, {500, 400}});
  for (int64_t checkpoint = 420; checkpoint <= 500; checkpoint += 20) {
    gang.coordinator.left(1, "silent");
    gang.stopped(0);
    ASSERT_EQ(gang.coordinator.phase(), Phase::kGathering) << checkpoint;
    EXPECT_EQ(gang.coordinator.history().since_progress, 1);
    gang.join(1);
    for (const int node : {0, 1}) gang.started(node);
    gang.coordinator.hear(1, ProgressNews{gang.coordinator.generation(), {checkpoint, checkpoint}});
  }
}

TEST(Coordinator, ALostNodeStopsTheOthersAndItsReplacementStartsTheNextGeneration) {
  Gang gang(3);
  gang.run();
  gang.coordinator.left(1, "nothing was heard for 5000 ms");
  gang.take();
  EXPECT_THAT(gang.receivers<StopOrder>(), ElementsAre(0, 2));
  EXPECT_THAT(gang.orders<StopOrder>()[0].second.reason,
              HasSubstr("node 1 (host1) was lost: nothing was heard for 5000 ms"));
  gang.stopped(0);
  gang.stopped(2);
  gang.take();
  ASSERT_EQ(gang.all<Coordinator::Judged>().size(), 1u);
  EXPECT_EQ(gang.all<Coordinator::Judged>()[0].verdict.kind, CauseKind::kLostNode);
  gang.join(1);
  gang.take();
  EXPECT_THAT(gang.receivers<StartOrder>(), ElementsAre(0, 1, 2));
}

TEST(Coordinator, ALostNodeThatComesBackWhileTheOthersStillStopIsStillTheCause) {
  Gang gang(2);
  gang.run();
  gang.coordinator.left(1, "silent");
  gang.join(1);
  gang.take();
  EXPECT_THAT(gang.orders<StartOrder>(), IsEmpty()) << "node 0 has processes";  // GC-1
  gang.stopped(0);
  gang.take();
  ASSERT_EQ(gang.all<Coordinator::Judged>().size(), 1u);
  EXPECT_TRUE(has_lost(gang.all<Coordinator::Judged>()[0].evidence, 1));
  EXPECT_EQ(gang.all<Coordinator::Judged>()[0].verdict.kind, CauseKind::kLostNode);
  EXPECT_THAT(gang.receivers<StartOrder>(), ElementsAre(0, 1));
}

TEST(Coordinator, ANodeThatCameBackIsNotTakenForOneThatRuns) {
  Gang gang(2);
  gang.run();
  gang.coordinator.left(1, "silent");
  gang.join(1);
  gang.coordinator.hear(1, StoppedNews{0, {}});
  gang.stopped(0);
  gang.take();
  ASSERT_EQ(gang.all<Coordinator::Judged>().size(), 1u);
  EXPECT_TRUE(has_lost(gang.all<Coordinator::Judged>()[0].evidence, 1));
}

TEST(Coordinator, WhatANodeSaidOfAFailureCountsAlsoWhenItIsLostBeforeItHasStopped) {
  Gang gang(2);
  gang.run();
  Evidence evidence = gang.evidence(1, Exited{1});
  evidence.stderr_tail = "torch.cuda.OutOfMemoryError: CUDA out of memory.\n";
  gang.coordinator.hear(1, FailedNews{0, evidence});
  gang.clock.advance(5s);
  gang.coordinator.left(1, "silent");
  gang.stopped(0);
  gang.take();
  ASSERT_EQ(gang.all<Coordinator::Judged>().size(), 1u);
  EXPECT_EQ(gang.all<Coordinator::Judged>()[0].verdict.kind, CauseKind::kOutOfMemory);
}

TEST(Coordinator, ANodeLostWhileStoppingIsNotWaitedFor) {
  Gang gang(2);
  gang.run();
  gang.failed(0);
  gang.stopped(0, gang.evidence(0));
  gang.take();
  gang.coordinator.left(1, "silent");
  gang.take();
  ASSERT_EQ(gang.all<Coordinator::Judged>().size(), 1u);
  EXPECT_TRUE(has_lost(gang.all<Coordinator::Judged>()[0].evidence, 1));
}

TEST(Coordinator, ANodeLostAfterItSucceededStopsTheGenerationToo) {
  Gang gang(2);
  gang.run();
  gang.succeeded(1);
  gang.coordinator.left(1, "silent");
  gang.take();
  EXPECT_THAT(gang.receivers<StopOrder>(), ElementsAre(0));
}

TEST(Coordinator, LosingTheOnlyNodeIsJudgedAtOnce) {
  Gang gang(1);
  gang.run();
  gang.coordinator.left(0, "closed");
  gang.take();
  EXPECT_EQ(gang.all<Coordinator::Judged>().size(), 1u);
  EXPECT_EQ(gang.coordinator.phase(), Phase::kGathering);
}

// --- interruption

TEST(Coordinator, AnInterruptionWhileRunningStopsGracefullyAndEndsWithTheSignalsCode) {
  Gang gang(2);
  gang.run();
  gang.interrupted(1, 15);
  gang.take();
  EXPECT_THAT(gang.receivers<StopOrder>(), ElementsAre(0, 1));
  EXPECT_EQ(gang.orders<StopOrder>()[0].second.grace, 30s);
  EXPECT_THAT(gang.orders<StopOrder>()[0].second.reason,
              HasSubstr("node 1 (host1) was sent SIGTERM"));
  gang.stopped(0);
  gang.stopped(1);
  gang.take();
  gang.expect_end({0, 1}, 143);
}

TEST(Coordinator, TheSameSignalOnEveryNodeIsOneInterruption) {
  Gang gang(3);
  gang.run();
  for (const int node : {2, 0, 1}) gang.interrupted(node, 15);
  gang.take();
  for (const auto& [node, stop] : gang.orders<StopOrder>()) EXPECT_EQ(stop.grace, 30s);
}

TEST(Coordinator, ASecondSignalToTheSameNodeMeansNow) {
  Gang gang(2);
  gang.run();
  gang.interrupted(1, 2);
  gang.take();
  gang.interrupted(1, 2);
  gang.take();
  EXPECT_THAT(gang.receivers<StopOrder>(), ElementsAre(0, 1));
  for (const auto& [node, stop] : gang.orders<StopOrder>()) EXPECT_EQ(stop.grace, 0s);
  EXPECT_LE(*gang.coordinator.deadline(), gang.clock.steady() + kStopPatience);
}

TEST(Coordinator, AnInterruptionWhileGatheringEndsAtOnce) {
  Gang gang(2);
  gang.join(0);
  gang.take();
  gang.interrupted(0, 2);
  gang.take();
  gang.expect_end({0}, 130);
}

TEST(Coordinator, AnInterruptionWhilePreparingEndsAtOnce) {
  Gang gang(2, /*prepare=*/true);
  gang.join_all();
  gang.take();
  gang.interrupted(1, 15);
  gang.take();
  EXPECT_THAT(gang.receivers<EndOrder>(), ElementsAre(0, 1));
}

TEST(Coordinator, AnInterruptionWhileAFailureIsBeingStoppedEndsInsteadOfStartingAgain) {
  Gang gang(1);
  gang.run();
  gang.failed(0);
  gang.interrupted(0, 15);
  gang.stopped(0, gang.evidence(0));
  gang.take();
  EXPECT_THAT(gang.orders<StartOrder>(), IsEmpty());
  gang.expect_end({0}, 143);
}

TEST(Coordinator, AnInterruptionDuringTheBackoffEndsAtOnce) {
  auto settings = Gang::settings_for(1);
  settings.restarts.backoff = 5s;
  Gang gang(settings);
  gang.run();
  gang.failed(0);
  gang.stopped(0, gang.evidence(0));
  gang.interrupted(0, 15);
  EXPECT_EQ(gang.coordinator.phase(), Phase::kEnding);
}

TEST(Coordinator, AnInterruptionAtTheEndChangesNothing) {
  Gang gang(1);
  gang.run();
  gang.succeeded(0);
  gang.take();
  gang.interrupted(0, 15);
  EXPECT_THAT(gang.take(), IsEmpty());
  gang.pass();
  gang.take();
  ASSERT_EQ(gang.all<Coordinator::Finish>().size(), 1u);
  EXPECT_EQ(gang.all<Coordinator::Finish>()[0].exit_code, 0);
}

}  // namespace
}  // namespace megalaunch
