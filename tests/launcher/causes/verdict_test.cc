#include "launcher/causes/verdict.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace megalaunch {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr int64_t kNoon = 1'730'980'800'000;  // milliseconds

const CauseRules& rules() {
  static const CauseRules kRules = CauseRules::built_in();
  return kRules;
}

Evidence rank(int number, RankEnd end, int64_t at_ms, std::string text = "") {
  Evidence evidence;
  evidence.rank = number;
  evidence.node_rank = number / 2;
  evidence.local_rank = number % 2;
  evidence.host = "node" + std::to_string(number / 2);
  evidence.end = end;
  evidence.ended_at = WallTime(milliseconds(kNoon + at_ms));
  evidence.stderr_tail = std::move(text);
  return evidence;
}

Evidence stopped(int number, int64_t at_ms, std::string text = "") {
  Evidence evidence = rank(number, Signaled{15, false}, at_ms, std::move(text));
  evidence.stopped_by_us = true;
  return evidence;
}

const char* const kOom =
    "Traceback (most recent call last):\n  File \"train.py\", line 7, in <module>\n    step()\n"
    "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.\n";
const char* const kReset =
    "torch.distributed.DistBackendError: [7] is setting up NCCL communicator and retrieving "
    "ncclUniqueId from [0] via c10d "
    "key-value store by key '6:7', but store->get('6:7') got error: Connection reset by peer\n";
const char* const kWatchdog =
    "[E ProcessGroupNCCL.cpp:563] [Rank 3] Watchdog caught collective operation timeout: "
    "WorkNCCL(SeqNum=5, OpType=ALLREDUCE) ran "
    "for 600013 milliseconds before timing out.\n";

TEST(Verdict, ACauseWinsOverSymptomsThatCameBeforeIt) {
  const std::vector evidence{rank(0, Exited{1}, 10, kReset),
                             rank(1, Signaled{6, true}, 20, kWatchdog),
                             rank(2, Exited{1}, 900, kOom), stopped(3, 950)};
  const Verdict verdict = decide(evidence, rules());
  EXPECT_EQ(verdict.first, 2U);
  EXPECT_EQ(verdict.kind, CauseKind::kOutOfMemory);
  EXPECT_TRUE(verdict.certain);
  EXPECT_EQ(verdict.habit.retries, 0);
  EXPECT_THAT(verdict.victims, ElementsAre(0, 1));
  EXPECT_THAT(verdict.lines, Contains(HasSubstr("File \"train.py\", line 7")));
  EXPECT_FALSE(verdict.advice.empty());
}

TEST(Verdict, OfTwoCausesTheEarlierByCorrectedTimeIsFirst) {
  std::vector evidence{rank(0, Exited{1}, 100, kOom), rank(2, Exited{1}, 5000, "ValueError: x\n")};
  EXPECT_EQ(decide(evidence, rules()).first, 0U);
  evidence[1].clock_offset = milliseconds(4950);  // node 1's clock is ahead
  const Verdict verdict = decide(evidence, rules());
  EXPECT_EQ(verdict.first, 1U);
  EXPECT_EQ(verdict.kind, CauseKind::kConfig);
}

TEST(Verdict, ARankThatWeStoppedIsNeverFirstByItsEnd) {
  const std::vector evidence{stopped(0, 0), rank(1, Exited{3}, 500)};
  const Verdict verdict = decide(evidence, rules());
  EXPECT_EQ(verdict.first, 1U);
  EXPECT_EQ(verdict.kind, CauseKind::kUnknown);
  EXPECT_EQ(verdict.text, "exited with code 3");
}

TEST(Verdict, ARankThatWasStoppedWhileDyingIsFirstWhenAllOthersAreVictims) {
  const std::vector evidence{rank(0, Exited{1}, 10, kReset), stopped(1, 40, kOom),
                             stopped(2, 41, "KeyboardInterrupt\n")};
  const Verdict verdict = decide(evidence, rules());
  EXPECT_EQ(verdict.first, 1U);
  EXPECT_EQ(verdict.kind, CauseKind::kOutOfMemory);
  EXPECT_THAT(verdict.victims, ElementsAre(0));
}

TEST(Verdict, VictimsAloneGiveAnUncertainAnswer) {
  const std::vector evidence{rank(0, Exited{1}, 10, kReset),
                             rank(1, Signaled{6, true}, 5, kWatchdog), stopped(2, 20)};
  const Verdict verdict = decide(evidence, rules());
  EXPECT_EQ(verdict.first, 1U);
  EXPECT_EQ(verdict.kind, CauseKind::kNetwork);
  EXPECT_FALSE(verdict.certain);
  EXPECT_GT(verdict.habit.retries, 0);
}

TEST(Verdict, ALostNodeExplainsTheVictims) {
  const std::vector evidence{rank(0, Exited{1}, 10, kReset), rank(2, LostNode{}, 4000),
                             rank(3, LostNode{}, 4000)};
  const Verdict verdict = decide(evidence, rules());
  EXPECT_EQ(verdict.first, 1U);
  EXPECT_EQ(verdict.kind, CauseKind::kLostNode);
  EXPECT_THAT(verdict.alike, ElementsAre(2));
  EXPECT_THAT(verdict.victims, ElementsAre(0));
}

TEST(Verdict, AKillFromOutsideIsACauseAndMemoryExplainsIt) {
  std::vector evidence{rank(0, Exited{1}, 10, kReset), rank(1, Signaled{9, false}, 30)};
  EXPECT_EQ(decide(evidence, rules()).kind, CauseKind::kSignal);
  EXPECT_EQ(decide(evidence, rules()).first, 1U);
  evidence[1].oom_killed = true;
  EXPECT_EQ(decide(evidence, rules()).kind, CauseKind::kHostOutOfMemory);
  EXPECT_TRUE(decide(evidence, rules()).certain);
}

TEST(Verdict, ASigtermFromOutsideIsACauseOnlyWhenNobodyHasAnother) {
  std::vector evidence{rank(0, Signaled{15, false}, 10), rank(1, Exited{1}, 500, kReset)};
  EXPECT_EQ(decide(evidence, rules()).first, 0U);
  EXPECT_EQ(decide(evidence, rules()).kind, CauseKind::kSignal);
  evidence.push_back(rank(2, Exited{1}, 900, kOom));
  EXPECT_EQ(decide(evidence, rules()).first, 2U);
}

TEST(Verdict, CodeThatATracebackQuotesIsNoMessage) {
  const std::vector evidence{rank(
      0, Exited{1}, 0,
      "Traceback (most recent call last):\n  File \"a.py\", line 3, in f\n"
      "    raise OddError('CUDA out of memory')\n    ^^^^^^^^^^^^\nOddError: something else\n")};
  EXPECT_EQ(decide(evidence, rules()).rule, "program-error");
  EXPECT_EQ(decide(evidence, rules()).text, "OddError: something else");
  const std::vector flat{rank(0, Exited{1}, 0,
                              "Traceback (most recent call last):\nFile \"a.py\", line 3, in f\n"
                              "raise OddError('CUDA out of memory')\nOddError: something else\n")};
  EXPECT_EQ(decide(flat, rules()).text, "OddError: something else");
  const std::vector boxed{
      rank(0, Exited{1}, 0,
           "╭── Traceback (most recent call last) ──╮\n│ /x/a.py:3 in f   │\n"
           "│ ❱ 3 │ except torch.OutOfMemoryError: │\n╰──────╯\nOddError: something else\n")};
  EXPECT_EQ(decide(boxed, rules()).text, "OddError: something else");
  EXPECT_THAT(decide(boxed, rules()).lines, Contains(HasSubstr("/x/a.py:3")));
}

TEST(Verdict, WhatNcclGoesWithoutIsNoCause) {
  const auto rule_of = [](std::string text) {
    return decide(std::vector{rank(0, Exited{1}, 0, "n1:7:7 [0] NCCL " + text)}, rules()).rule;
  };
  EXPECT_EQ(rule_of("INFO NET/Plugin: dlerror=x.so: cannot open shared object file\n"), "");
  EXPECT_EQ(rule_of("INFO [Service thread] Connection closed by localRank 3\n"), "");
  EXPECT_EQ(rule_of("WARN Net : Connection closed by remote peer\n"), "peer-lost");
}

TEST(Verdict, ASettingsNameIsNoCause) {
  for (const char* line : {"  on_error ............ found nan in grad\n",
                           "[2025-01-01] [INFO] [config.py:9:print]   on_error ... NaN loss\n"})
    EXPECT_EQ(decide(std::vector{rank(0, Exited{1}, 0, line)}, rules()).kind, CauseKind::kUnknown);
  EXPECT_EQ(decide(std::vector{rank(0, Exited{1}, 0, "found NaN in the loss ...\n")}, rules()).kind,
            CauseKind::kNumeric);
}

TEST(Verdict, WhatALauncherSawCountsOnlyWhenTheRanksSayNothing) {
  const std::string seen = "srun: error: n1: task 3: Exited with exit code 1\n";
  const Verdict alone = decide(std::vector{rank(0, Exited{1}, 0, seen)}, rules());
  EXPECT_EQ(alone.kind, CauseKind::kUnknown);
  EXPECT_EQ(alone.rule, "launcher-saw-a-failure");
  EXPECT_EQ(decide(std::vector{rank(0, Exited{1}, 0, seen + kReset)}, rules()).kind,
            CauseKind::kStore);
  EXPECT_EQ(decide(std::vector{rank(0, Exited{1}, 0, "OddError: x\n" + seen)}, rules()).text,
            "OddError: x");
  const std::vector evidence{rank(0, Exited{1}, 0, seen), rank(1, Exited{1}, 900, kOom)};
  EXPECT_EQ(decide(evidence, rules()).first, 1U);
}

TEST(Verdict, AnAbortIsASymptomWhenOthersSayMoreAndACauseWhenNobodyDoes) {
  const std::vector evidence{rank(0, Signaled{6, true}, 0), rank(1, Exited{1}, 900, kOom)};
  EXPECT_EQ(decide(evidence, rules()).first, 1U);
  EXPECT_EQ(decide(std::vector{rank(0, Signaled{6, true}, 0)}, rules()).kind, CauseKind::kSignal);
  EXPECT_EQ(decide(std::vector{rank(0, Signaled{6, true}, 0, kWatchdog)}, rules()).kind,
            CauseKind::kNetwork);
}

TEST(Verdict, AWarningIsNoCause) {
  const std::vector evidence{rank(0, Exited{1}, 0,
                                  "[W socket.cpp:601] [c10d] cannot be retrieved (gai error: -2 - "
                                  "Name or service not known).\n")};
  EXPECT_EQ(decide(evidence, rules()).kind, CauseKind::kUnknown);
}

TEST(Verdict, AnUnknownErrorBeforeTrainingIsTheProgramsOwn) {
  const auto kind = [](std::string text) {
    return decide(std::vector{rank(0, Exited{1}, 0, std::move(text))}, rules()).kind;
  };
  EXPECT_EQ(kind("RuntimeError: odd\n"), CauseKind::kConfig);
  EXPECT_EQ(kind(" iteration 5/ 10 | loss: 1\nRuntimeError: odd\n"), CauseKind::kUnknown);
  const std::vector evidence{rank(0, Exited{1}, 0, "RuntimeError: odd\n"),
                             stopped(1, 9, " iteration 5/ 10 | loss: 1\n")};
  EXPECT_EQ(decide(evidence, rules()).kind, CauseKind::kUnknown)
      << "the last rank prints the iterations for all";
}

TEST(Verdict, ACrashInTheTearDownOfAnExceptionIsNotTheCause) {
  const std::string flux = "RuntimeError: the flux capacitor is not charged\n";
  const std::string aborted = "terminate called without an active exception\n";
  const std::string iteration = " iteration 1/ 10 | lm loss: 1.0E+00 |\n";
  for (const RankEnd& end : {RankEnd(Signaled{6, true}), RankEnd(NotRecorded{})}) {
    const Verdict trained =
        decide(std::vector{rank(2, end, 10, iteration + flux + aborted)}, rules());
    EXPECT_EQ(trained.kind, CauseKind::kUnknown);
    EXPECT_THAT(trained.text, HasSubstr("flux capacitor"));
    const Verdict untrained = decide(std::vector{rank(2, end, 10, flux + aborted)}, rules());
    EXPECT_EQ(untrained.kind, CauseKind::kConfig);
    const Verdict survived =
        decide(std::vector{rank(2, end, 10, flux + iteration + aborted)}, rules());
    EXPECT_EQ(survived.rule, "crashed-silently");
  }
}

TEST(Verdict, WhatALauncherStoppedAfterAFailureIsNotACancelledJob) {
  const std::string cancelled =
      "slurmstepd: error: *** STEP 9.0 ON n1 CANCELLED AT 2025-01-01T10:00:00 ***\n";
  const auto kind_of = [&](const std::string& text) {
    return decide(std::vector{rank(0, Exited{1}, 0, text)}, rules()).kind;
  };
  EXPECT_EQ(kind_of("ValueError: x\n" + cancelled), CauseKind::kConfig);
  EXPECT_EQ(kind_of("OddError: x\n" + cancelled), CauseKind::kConfig);
  EXPECT_EQ(kind_of(kReset + cancelled), CauseKind::kStore);
  EXPECT_EQ(
      kind_of(kReset + std::string("*** JOB 9 ON n1 CANCELLED AT 2025 DUE TO PREEMPTION ***\n")),
      CauseKind::kSignal);
  EXPECT_EQ(kind_of("KeyboardInterrupt\n" + cancelled), CauseKind::kSignal);
}

TEST(Verdict, TrainingThatEndsWithoutNumbersIsNumericUnlessSomethingElseIsSaid) {
  const std::string good = " iteration 1/ 10 | lm loss: 1.0E+00 | grad norm: 2.1 |\n";
  const std::string bad = " iteration 2/ 10 | lm loss: 1.0E+00 | grad norm: nan |\n";
  const auto kind_of = [&](const std::string& text) {
    return decide(std::vector{rank(0, Exited{1}, 0, text)}, rules()).kind;
  };
  EXPECT_EQ(kind_of(good + bad), CauseKind::kNumeric);
  EXPECT_EQ(kind_of(bad + good), CauseKind::kUnknown) << "training got over it";
  EXPECT_EQ(kind_of(good + bad + kOom), CauseKind::kOutOfMemory);
}

TEST(Verdict, ACrashIsTheCauseBesideSymptomsAndNotBehindAnException) {
  const std::string crash = "Fatal Python error: Segmentation fault\n";
  const auto rule_of = [&](const std::string& text) {
    return decide(std::vector{rank(0, Exited{1}, 0, text)}, rules()).rule;
  };
  EXPECT_EQ(rule_of(kReset + crash), "crashed") << "another rank's symptom in the same log";
  EXPECT_EQ(rule_of("OddError: x\n" + crash), "program-error");
  EXPECT_EQ(rule_of("RuntimeError: DataLoader worker (pid 7) is killed by signal: Aborted.\n"),
            "crashed");
}

TEST(Verdict, AnUnknownErrorBeforeTheSymptomsIsTheCauseAndBehindThemIsNone) {
  const auto rule_of = [&](const std::string& text) {
    return decide(std::vector{rank(0, Exited{1}, 0, text)}, rules()).rule;
  };
  EXPECT_EQ(rule_of(std::string("OddError: x\n") + kReset), "program-error");
  EXPECT_EQ(rule_of(kReset + std::string("OddError: training failed\n")), "store-lost");
}

TEST(Verdict, AnExceptionWhoseNameIsCutOffYieldsToTheSymptomsBeforeIt) {
  const char* const cut =
      "Traceback (most recent call last):\n  File \"a.py\", line 1, in f\n    g(\n";
  EXPECT_EQ(
      decide(std::vector{rank(0, Exited{1}, 10, kReset), rank(1, Exited{1}, 900, cut)}, rules())
          .kind,
      CauseKind::kStore);
  EXPECT_EQ(
      decide(std::vector{rank(0, Exited{1}, 900, kReset), rank(1, Exited{1}, 10, cut)}, rules())
          .kind,
      CauseKind::kConfig);
}

TEST(Verdict, ARankWhoseLastWordsFoundNoRoomDiedOfTheFullDisk) {
  Evidence mute = rank(3, Exited{1}, 10, " iteration 5/ 10 | loss: 1\n");
  mute.log_disk_full = true;
  const Verdict verdict = decide(std::vector{mute}, rules());
  EXPECT_EQ(verdict.rule, "storage-full");
  EXPECT_FALSE(verdict.certain);
  EXPECT_THAT(verdict.text, HasSubstr("no space left"));

  Evidence telling = rank(3, Exited{1}, 10, kOom);
  telling.log_disk_full = true;
  EXPECT_EQ(decide(std::vector{telling}, rules()).kind, CauseKind::kOutOfMemory);
}

TEST(Verdict, WhatWasSurvivedIsNoCause) {
  const std::vector evidence{rank(0, Exited{1}, 0,
                                  "FileNotFoundError: [Errno 2] No such file or directory: "
                                  "'cache'\n iteration 5/ 10 | loss: 1\n"
                                  "torch.OutOfMemoryError: CUDA out of memory.\n")};
  EXPECT_EQ(decide(evidence, rules()).kind, CauseKind::kOutOfMemory);
  EXPECT_TRUE(decide(evidence, rules()).made_progress);
}

TEST(Verdict, AnErrorFilesWholeSecondIsATieWithEndsWithinIt) {
  // Rank 0's exception is known to the second only; rank 1 was killed within that second. A known
  // cause wins over an unknown one.
  std::vector evidence{rank(0, Exited{1}, 2500), rank(1, Signaled{9, false}, 400)};
  evidence[0].error_file = ErrorFile{"OddError: something odd", "", WallTime(milliseconds(kNoon))};
  EXPECT_EQ(decide(evidence, rules()).first, 1U);
  evidence[1] = rank(1, Signaled{9, false}, 9000);
  EXPECT_EQ(decide(evidence, rules()).first, 0U) << "the exception was seconds earlier";
}

TEST(Verdict, AnErrorFileFromLaterThanTheEndIsNotBelieved) {
  std::vector evidence{rank(0, Exited{1}, 100, "ValueError: a\n"),
                       rank(1, Exited{1}, 5000, "ValueError: b\n")};
  evidence[0].error_file = ErrorFile{"ValueError: a", "", WallTime(milliseconds(kNoon + 60'000))};
  EXPECT_EQ(decide(evidence, rules()).first, 0U);
}

TEST(Verdict, TheErrorFilesTracebackIsGivenInFull) {
  std::vector evidence{rank(0, Exited{1}, 100)};
  evidence[0].error_file =
      ErrorFile{"AssertionError: no",
                "Traceback (most recent call last):\n  File \"m.py\", line 2\nAssertionError: no\n",
                {}};
  const Verdict verdict = decide(evidence, rules());
  EXPECT_EQ(verdict.kind, CauseKind::kConfig);
  EXPECT_THAT(verdict.lines, ElementsAre("Traceback (most recent call last):",
                                         "  File \"m.py\", line 2", "AssertionError: no"));
}

TEST(Verdict, ASymptomThatNoRuleKnowsDoesNotHideTheCulpritThatDiesSlowly) {
  const std::vector evidence{rank(0, Exited{1}, 0, "OddLibraryError: lost it\n"),
                             rank(1, Exited{1}, 3000, kOom)};
  EXPECT_EQ(decide(evidence, rules()).first, 1U);
}

TEST(Verdict, AmongVictimsTheOneRankThatTheyWaitedForIsFirst) {
  const std::string timeout = "[Rank 0] Watchdog caught collective operation timeout: WorkNCCL\n";
  const std::string lagging = " - [3] finished collective #7, but didn't join collective #8\n";
  const auto judge = [&](const std::string& others) {
    return decide(std::vector{rank(0, Signaled{6, false}, 0, timeout + lagging),
                              rank(1, Signaled{6, false}, 10, timeout + others), stopped(2, 20),
                              stopped(3, 30)},
                  rules());
  };
  const Verdict verdict = judge(lagging);
  EXPECT_EQ(verdict.first, 3U);
  EXPECT_EQ(verdict.kind, CauseKind::kNetwork);
  EXPECT_FALSE(verdict.certain);
  EXPECT_THAT(verdict.victims, ElementsAre(0, 1));
  EXPECT_EQ(judge(" - [2] finished collective #7, but didn't join collective #8\n").first, 0U)
      << "they do not agree";
  EXPECT_EQ(judge("torch.OutOfMemoryError: CUDA out of memory.\n").first, 1U) << "a cause is known";
}

TEST(Verdict, AllRanksEndedWellIsNoFailure) {
  const std::vector evidence{rank(0, Exited{0}, 0), rank(1, Exited{0}, 1)};
  EXPECT_EQ(decide(evidence, rules()).first, std::nullopt);
  EXPECT_EQ(decide({}, rules()).first, std::nullopt);
}

TEST(Verdict, MegatronsExitCodesAreNumeric) {
  EXPECT_EQ(decide(std::vector{rank(0, Exited{16}, 0)}, rules()).kind, CauseKind::kNumeric);
  EXPECT_GT(decide(std::vector{rank(0, Exited{16}, 0)}, rules()).habit.retries, 0);
  EXPECT_EQ(decide(std::vector{rank(0, Exited{17}, 0)}, rules()).habit.retries, 0);
}

TEST(Verdict, TheSignatureForgetsNumbersAndKeepsTheHostOfADevice) {
  const auto signature = [&](int number, const char* text) {
    return decide(std::vector{rank(number, Exited{1}, 0, text)}, rules()).signature;
  };
  EXPECT_EQ(signature(0, "ValueError: sample 17 at 0x7f00\n"),
            signature(5, "ValueError: sample 99 at 0xabc\n"));
  EXPECT_NE(signature(0, "ValueError: a\n"), signature(0, "ValueError: b\n"));
  const char* const kXid = "NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus.\n";
  EXPECT_NE(signature(0, kXid), signature(5, kXid)) << "another node's GPU is another failure";
}

TEST(Verdict, TheOrderOfTheEvidenceDoesNotMatter) {
  std::vector evidence{rank(0, Exited{1}, 10, kReset), rank(1, Exited{1}, 30, "ValueError: x\n"),
                       stopped(2, 40), rank(3, Exited{1}, 30, "ValueError: x\n"),
                       rank(4, Signaled{6, true}, 5, kWatchdog)};
  std::mt19937 random(7);
  for (int i = 0; i < 50; ++i) {
    std::shuffle(evidence.begin(), evidence.end(), random);
    const Verdict verdict = decide(evidence, rules());
    ASSERT_EQ(evidence[*verdict.first].rank, 1);
    ASSERT_EQ(verdict.victims.size(), 2U);
    ASSERT_EQ(verdict.alike.size(), 1U);
  }
}

TEST(Verdict, LastWordsYieldToWhatAnotherRankKnows) {
  const std::string words = "the table must not be empty\n";
  const Verdict alone = decide(std::vector{rank(0, Exited{1}, 10, words)}, rules());
  EXPECT_EQ(alone.kind, CauseKind::kConfig);
  EXPECT_FALSE(alone.certain);
  const std::vector both{rank(0, Exited{1}, 10, words), rank(1, Exited{1}, 90, kWatchdog)};
  EXPECT_EQ(decide(both, rules()).kind, CauseKind::kNetwork);
}

}  // namespace
}  // namespace megalaunch
