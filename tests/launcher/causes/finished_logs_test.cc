#include "launcher/causes/finished_logs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <fstream>
#include <nlohmann/json.hpp>

#include "launcher/causes/failure_report.h"
#include "launcher/causes/log_directory.h"
#include "launcher/causes/log_lines.h"
#include "launcher/causes/torchrun_report.h"
#include "tests/lib/temp_dir.h"

namespace megalaunch {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

const char* const kOom =
    "Traceback (most recent call last):\n  File \"t.py\", line 1\ntorch.OutOfMemoryError: CUDA out "
    "of memory.\n";
const char* const kReset =
    "RuntimeError: [../gloo/transport/tcp/pair.cc:598] Connection closed by peer [10.0.0.1]:1\n";

const CauseRules& rules() {
  static const CauseRules kRules = CauseRules::built_in();
  return kRules;
}

Diagnosis diagnosis_of(const std::vector<std::filesystem::path>& paths) {
  auto result = diagnose(paths, rules());
  EXPECT_TRUE(result) << (result ? "" : result.error().message);
  return result ? *std::move(result) : Diagnosis{};
}

TEST(FinishedLogs, TorchrunsDirectoriesOfSeveralNodesAreOneRun) {
  const TempDir dir;
  dir.write("job_a1b2c3d4/attempt_0/0/stderr.log", kReset);
  dir.write("job_a1b2c3d4/attempt_0/1/stderr.log", kReset);
  dir.write("job_e5f6g7h8/attempt_0/0/stderr.log", "[rank2]: " + std::string(kReset));
  dir.write("job_e5f6g7h8/attempt_0/1/stderr.log", kOom);
  dir.write("job_e5f6g7h8/attempt_0/1/stdout.log", "[rank3]: loading\n");
  const Diagnosis found = diagnosis_of({dir.path()});
  ASSERT_THAT(found.ranks, SizeIs(4));
  EXPECT_EQ(found.verdict.kind, CauseKind::kOutOfMemory);
  const LoggedRank& first = found.ranks[*found.verdict.first];
  EXPECT_TRUE(first.rank_known);
  EXPECT_EQ(first.evidence.rank, 3) << "its own prefix knows the global rank";
  EXPECT_EQ(first.path, dir.path() / "job_e5f6g7h8/attempt_0/1/stderr.log");
  EXPECT_EQ(first.finding.line, 3U);
  EXPECT_THAT(found.verdict.victims, SizeIs(3));
}

TEST(FinishedLogs, TheCauseMayBeInAnOlderPartOfALogWithACap) {
  const TempDir dir;
  dir.write("attempt_0/0/0/stderr.log.1", kOom);
  dir.write("attempt_0/0/0/stderr.log", "warning: still here\n");
  const Diagnosis found = diagnosis_of({dir.path()});
  EXPECT_EQ(found.verdict.kind, CauseKind::kOutOfMemory);
  EXPECT_EQ(found.ranks[*found.verdict.first].path, dir.path() / "attempt_0/0/0/stderr.log.1");
}

TEST(FinishedLogs, AHoleAtTheBeginningOfALogIsPassedOver) {
  const TempDir dir;
  const auto path = dir.write("attempt_0/0/0/stderr.log", kOom);
  std::filesystem::resize_file(path, 0);
  std::filesystem::resize_file(path, 1 << 20);
  std::ofstream(path, std::ios::app) << kOom;
  const Diagnosis found = diagnosis_of({dir.path()});
  EXPECT_EQ(found.verdict.kind, CauseKind::kOutOfMemory);
  EXPECT_EQ(found.ranks[*found.verdict.first].finding.line, 3U);
}

TEST(FinishedLogs, FilesWrittenAtTheSameTimeAreToldApartByWhatTheySay) {
  const TempDir dir;
  dir.write("none_x/attempt_0/0/stderr.log",
            "AttributeError: 'NoneType' object has no attribute 'loss'\n");
  dir.write("none_x/attempt_0/1/stderr.log", kOom);
  const Diagnosis found = diagnosis_of({dir.path()});
  EXPECT_EQ(found.verdict.kind, CauseKind::kOutOfMemory);
}

TEST(FinishedLogs, OneNodesLocalRanksAreItsRanks) {
  const TempDir dir;
  dir.write("none_x/attempt_0/0/stderr.log", kReset);
  dir.write("none_x/attempt_0/5/stderr.log", kOom);
  const Diagnosis found = diagnosis_of({dir.path() / "none_x"});
  EXPECT_EQ(found.ranks[*found.verdict.first].evidence.rank, 5);
  EXPECT_TRUE(found.ranks[*found.verdict.first].rank_known);
}

TEST(FinishedLogs, TheLastAttemptCounts) {
  const TempDir dir;
  dir.write("run_x/attempt_0/0/stderr.log", kOom);
  dir.write("run_x/attempt_9/0/stderr.log", kOom);
  dir.write("run_x/attempt_10/0/stderr.log", "ValueError: x\n");
  const Diagnosis found = diagnosis_of({dir.path()});
  EXPECT_EQ(found.verdict.kind, CauseKind::kConfig);
  ASSERT_THAT(found.notes, SizeIs(1));
  EXPECT_THAT(found.notes[0], HasSubstr("attempt 10 is diagnosed"));
}

TEST(FinishedLogs, AnErrorFileNamesTheRootWithoutALog) {
  const TempDir dir;
  dir.write("r_x/attempt_0/0/stderr.log", kReset);
  dir.write("r_x/attempt_0/1/stderr.log", "");
  dir.write(
      "r_x/attempt_0/1/error.json",
      R"({"message": {"message": "KeyError: 'x'", "extraInfo": {"py_callstack": "Traceback\nKeyError: 'x'", "timestamp": "1730996841"}}})");
  const Diagnosis found = diagnosis_of({dir.path()});
  EXPECT_EQ(found.verdict.kind, CauseKind::kConfig);
  EXPECT_EQ(found.ranks[*found.verdict.first].path.filename(), "error.json");
  EXPECT_THAT(found.verdict.lines, SizeIs(2));
}

/// A run of ours as the agents leave it: a report beside the ranks' logs.
TEST(FinishedLogs, OurReportKnowsTheEndsThatLogsDoNot) {
  const TempDir dir;
  std::vector<Evidence> evidence(4);
  for (int i = 0; i < 4; ++i) {
    Evidence& one = evidence[static_cast<size_t>(i)];
    one.rank = i;
    one.node_rank = i / 2;
    one.local_rank = i % 2;
    one.host = "node" + std::to_string(i / 2);
    one.end = Exited{1};
    one.stderr_tail = kReset;
    dir.write(fmt::format("run/attempt_2/{}/{}/stderr.log", i / 2, i % 2), i == 3 ? "" : kReset);
  }
  evidence[3].end = Signaled{9, false};  // killed, without a word
  evidence[3].stderr_tail.clear();
  evidence[0].stopped_by_us = true;
  const Verdict verdict = decide(evidence, rules());
  const RestartDecision decision = decide_restart({}, {}, verdict, evidence[3].end, {});
  dir.write("run/attempt_2/report.json", report_json({}, evidence, verdict, decision).dump());

  const Diagnosis found = diagnosis_of({dir.path() / "run"});
  ASSERT_TRUE(found.verdict.first);
  const LoggedRank& first = found.ranks[*found.verdict.first];
  EXPECT_EQ(found.verdict.kind, CauseKind::kSignal);
  EXPECT_EQ(first.evidence.rank, 3);
  EXPECT_EQ(first.evidence.host, "node1");
  EXPECT_THAT(found.verdict.victims, SizeIs(2)) << "rank 0 was stopped";
}

TEST(FinishedLogs, OneFileOfManyRanksIsTakenApartAndItsOrderIsTime) {
  const auto ranks = read_log_text(
      "[default1]:ValueError: second\n[default0]:starting\n[default2]:ValueError: third\n",
      "all.log", WallTime{}, rules());
  ASSERT_THAT(ranks, SizeIs(3));
  std::vector<Evidence> evidence;
  std::vector<Finding> findings;
  for (const LoggedRank& rank : ranks) {
    evidence.push_back(rank.evidence);
    findings.push_back(rank.finding);
  }
  evidence[0].stopped_by_us = true;
  const Verdict verdict = decide(evidence, findings, rules());
  EXPECT_EQ(evidence[*verdict.first].rank, 1);
}

TEST(FinishedLogs, TextWithoutAPrefixIsThatOfTheRankWhichTorchrunBlames) {
  const TempDir dir;
  const auto log = dir.path() / "log";
  std::ofstream(log) << "[rank0]:[W1019 08:16:22.3 ProcessGroupNCCL.cpp:1477] Warning: leak\n"
                     << "[rank1]:[W1019 08:16:22.3 ProcessGroupNCCL.cpp:1477] Warning: leak\n"
                     << "pure virtual method called\n"
                     << "E1019 api.py:874] failed (exitcode: -6) local_rank: 1 (pid: 3042) of "
                        "binary: /usr/bin/python\n";
  const Diagnosis diagnosis = diagnosis_of({log});
  ASSERT_TRUE(diagnosis.verdict.first);
  const LoggedRank& first = diagnosis.ranks[*diagnosis.verdict.first];
  EXPECT_EQ(diagnosis.verdict.kind, CauseKind::kSignal);
  EXPECT_EQ(first.finding.line, 3U);
  EXPECT_TRUE(first.rank_known);
  EXPECT_EQ(first.evidence.rank, 1);
}

TEST(FinishedLogs, WhatTorchrunStopsItStopsBecauseOfTheRankThatItBlames) {
  const auto ranks = read_log_text(
      "Sending process 4637 closing signal SIGTERM\n"
      "api.py:826] failed (exitcode: 1) local_rank: 1 (pid: 4638) of binary: python\n",
      "log", WallTime{}, CauseRules::built_in());
  ASSERT_EQ(ranks.size(), 1U);
  EXPECT_EQ(ranks[0].evidence.rank, 1);
  EXPECT_EQ(ranks[0].finding.kind, CauseKind::kUnknown);
}

TEST(FinishedLogs, TheRankThatTorchrunBlamesFailedOfTheProgramsErrorThatOthersWrote) {
  const std::string report =
      "api.py:826] failed (exitcode: 1) local_rank: 1 (pid: 4638) of binary: python\n";
  const auto first_of = [&](std::string_view text) {
    auto ranks =
        read_log_text(std::string(text) + report, "log", WallTime{}, CauseRules::built_in());
    std::vector<Evidence> evidence;
    std::vector<Finding> findings;
    for (const LoggedRank& rank : ranks) {
      evidence.push_back(rank.evidence);
      findings.push_back(rank.finding);
    }
    const Verdict verdict = decide(evidence, findings, CauseRules::built_in());
    return fmt::format("{} of rank {}", to_string(verdict.kind),
                       evidence.at(verdict.first.value()).rank);
  };
  EXPECT_EQ(first_of("[rank0]: TypeError: f() got an unexpected keyword argument 'x'\n"),
            "config of rank 1");
  EXPECT_EQ(first_of("[rank0]: torch.OutOfMemoryError: CUDA out of memory.\n"),
            "out-of-memory of rank 0")
      << "memory is not the same on all ranks";
}

TEST(FinishedLogs, WhatWasSaidWithoutAPrefixWasSurvivedWhereARankRaisesACauseBehindIt) {
  const std::string said = "Couldn't connect to the Hub: 429 Client Error: Too Many Requests\n";
  const std::string raised = "[rank1]: torch.OutOfMemoryError: CUDA out of memory.\n";
  const auto kinds_in = [](const std::string& text) {
    std::vector<std::string> kinds;
    for (const LoggedRank& rank : read_log_text(text, "log", WallTime{}, CauseRules::built_in()))
      kinds.emplace_back(rank.finding.rule == nullptr ? "" : to_string(rank.finding.kind));
    return kinds;
  };
  EXPECT_THAT(kinds_in(said + raised), testing::ElementsAre("", "out-of-memory"));
  EXPECT_THAT(kinds_in(raised + said), testing::ElementsAre("network", "out-of-memory"));
  EXPECT_THAT(kinds_in(said + "[rank1]: RuntimeError: Connection reset by peer\n"),
              testing::ElementsAre("network", "store"));
}

TEST(FinishedLogs, AContainersJsonIsReadAsItsText) {
  const TempDir dir;
  const auto log = dir.path() / "log";
  std::ofstream(log)
      << R"({"log":"[rank3]: Traceback (most recent call last):\n","stream":"stderr"})" << '\n'
      << R"({"log":"[rank3]:   File \"a.py\", line 1, in f\n","stream":"stderr"})" << '\n'
      << R"({"log":"[rank3]: KeyError: 'lr'\n","stream":"stderr"})" << '\n';
  const Diagnosis diagnosis = diagnosis_of({log});
  ASSERT_TRUE(diagnosis.verdict.first);
  const LoggedRank& first = diagnosis.ranks[*diagnosis.verdict.first];
  EXPECT_EQ(diagnosis.verdict.kind, CauseKind::kConfig);
  EXPECT_EQ(first.finding.line, 3U);
  EXPECT_EQ(first.finding.text, "KeyError: 'lr'");
  EXPECT_EQ(first.evidence.rank, 3);
}

TEST(FinishedLogs, LocalAndGlobalPrefixesOfOneRankBelongTogether) {
  const auto ranks = read_log_text(
      "[default4]:[rank20]: Traceback (most recent call "
      "last):\n[default4]:starting\n[default5]:[rank21]: x\n",
      "l", WallTime{}, rules());
  ASSERT_THAT(ranks, SizeIs(2));
  EXPECT_EQ(ranks[0].evidence.rank, 20);
  EXPECT_EQ(ranks[1].evidence.rank, 21);
}

TEST(FinishedLogs, AFilesNameGivesTheRankThatItsLinesDoNot) {
  const TempDir dir;
  const auto first = dir.write("rank_7.log", kOom);
  const auto other = dir.write("rank_2.log", kReset);
  const Diagnosis found = diagnosis_of({other, first});
  EXPECT_EQ(found.ranks[*found.verdict.first].evidence.rank, 7);
}

TEST(FinishedLogs, AMessageWithoutPrefixIsOfTheRankThatSaysTheSameBehindOne) {
  const std::string text =
      "x.cu:1: Assertion `srcIndex < srcSelectDimSize` failed.\n"
      "[rank5]: RuntimeError: CUDA error: device-side assert triggered\n"
      "[rank6]: RuntimeError: CUDA error: device-side assert triggered\n";
  const auto ranks = read_log_text(text, "log", WallTime{}, rules());
  ASSERT_THAT(ranks, SizeIs(3));
  EXPECT_TRUE(ranks[0].rank_known);
  EXPECT_EQ(ranks[0].evidence.rank, 5);
}

TEST(FinishedLogs, ARankThatOthersWaitedForIsFirstWithoutALineOfItsOwn) {
  const TempDir dir;
  const auto log = dir.path() / "all.log";
  std::ofstream(log) << "[rank0]: RuntimeError: [Rank 0]: Ranks 2 failed to pass monitoredBarrier "
                        "in 60000 ms\n";
  const auto diagnosis = diagnose({log}, rules());
  ASSERT_TRUE(diagnosis);
  ASSERT_TRUE(diagnosis->verdict.first);
  const LoggedRank& first = diagnosis->ranks[*diagnosis->verdict.first];
  EXPECT_TRUE(first.rank_known);
  EXPECT_EQ(first.evidence.rank, 2);
  EXPECT_THAT(first.finding.text, HasSubstr("Ranks 2 failed"));
  EXPECT_FALSE(diagnosis->verdict.certain);
}

TEST(FinishedLogs, ALogWithoutFailureHasNoFirst) {
  const TempDir dir;
  const Diagnosis found = diagnosis_of({dir.write("fine.log", " iteration 5/ 5 | done\n")});
  EXPECT_EQ(found.verdict.first, std::nullopt);
}

TEST(FinishedLogs, PathsThatAreNotThereAreNamed) {
  const TempDir dir;
  const auto missing = diagnose({dir.path() / "nothing"}, rules());
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().kind, Error::Kind::kUsage);
  EXPECT_THAT(missing.error().message, HasSubstr("nothing: no such file"));
  EXPECT_THAT(diagnose({dir.path()}, rules()).error().message, HasSubstr("no logs below it"));
}

TEST(FinishedLogs, FilesThatAreNoLogsAreNamed) {
  using namespace std::string_literals;
  const TempDir dir;
  const auto error_of = [&](const std::string& text) {
    const auto result = diagnose({dir.write("a.log", text)}, rules());
    return result ? "" : result.error().message;
  };
  EXPECT_THAT(error_of(""), HasSubstr("a.log: is empty"));
  EXPECT_THAT(error_of("\x1f\x8b\x08 packed"), HasSubstr("a.log: is compressed; unpack it first"));
  EXPECT_THAT(error_of("V\0a\0l\0u\0e\0"s), HasSubstr("a.log: is not text"));
  EXPECT_EQ(error_of("ValueError: a stray \x01\n"s + std::string(200, 'x')), "");
  dir.write("logs/rank0.log", "");
  dir.write("logs/rank1.log", "\x1f\x8b\x08 packed");
  dir.write("logs/rank2.log", kOom);
  const Diagnosis found = diagnosis_of({dir.path() / "logs"});
  EXPECT_EQ(found.verdict.kind, CauseKind::kOutOfMemory);
  ASSERT_THAT(found.notes, SizeIs(1)) << "an empty log beside others is nothing to speak of";
  EXPECT_THAT(found.notes[0], HasSubstr("rank1.log: is compressed"));
}

TEST(FinishedLogs, OfAFileThatIsTooLargeTheEndIsReadAndItsLinesKeepTheirNumbers) {
  const TempDir dir;
  std::string text;
  const std::string line(65'535, '.');
  while (text.size() < kMaxLog + (1 << 20)) text += line + '\n';
  const auto lines = static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
  const Diagnosis found = diagnosis_of({dir.write("big.log", text + kOom)});
  ASSERT_TRUE(found.verdict.first);
  EXPECT_EQ(found.ranks[*found.verdict.first].finding.line, lines + 3);
  ASSERT_THAT(found.notes, SizeIs(1));
  EXPECT_THAT(found.notes[0], HasSubstr("the last 64 MiB were read, 1 MiB before them not"));
}

TEST(FinishedLogs, ATailAgainstAllRulesTakesMilliseconds) {
  std::string tail;
  while (tail.size() < Evidence::kMaxTail)
    tail +=
        "[rank3]: RuntimeError: NCCL CUDA error memory Traceback File \"x.py\", line 3, in f "
        "connection timed out by peer\n";
  tail.resize(Evidence::kMaxTail);
  const auto begin = std::chrono::steady_clock::now();
  const auto ranks = read_log_text(tail, "l", WallTime{}, rules());
  const auto took = std::chrono::steady_clock::now() - begin;
  EXPECT_THAT(ranks, SizeIs(1));
  EXPECT_LT(took, milliseconds(200))
      << "5 ms in a release build; sanitizers and a busy machine are slower";
  RecordProperty(
      "microseconds",
      static_cast<int>(std::chrono::duration_cast<std::chrono::microseconds>(took).count()));
  std::printf(
      "one tail of 64 KiB: %ld us\n",
      static_cast<long>(std::chrono::duration_cast<std::chrono::microseconds>(took).count()));
}

TEST(TorchrunReport, ABlockMayStandInOneLine) {
  const auto found = find_torchrun_report(
      split_log("  | 2024-08-23T22:22:58.879Z | [2]: time : x host : n2 rank : 10 (local_rank: 2) "
                "exitcode : -6 "
                "(pid: 189) error_file: <N/A> traceback : Signal 6 (SIGABRT) received by PID 189\n"
                "  | 2024-08-23T22:22:58.880Z | Root Cause (first observed failure):\n"
                "  | 2024-08-23T22:22:58.880Z | [0]: time : x host : n2 rank : 8 (local_rank: 0) "
                "exitcode : 1 "
                "(pid: 187) error_file: <N/A>\n"));
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].rank, 10);
  EXPECT_EQ(std::get<Signaled>(found[0].end).signal, SIGABRT);
  EXPECT_FALSE(found[0].root_cause);
  EXPECT_EQ(found[1].local_rank, 0);
  EXPECT_EQ(found[1].pid, 187);
  EXPECT_TRUE(found[1].root_cause);
}

TEST(TorchrunReport, GivesEachRankOnceWithItsEnd) {
  const std::string text =
      "E1223 05:17:58 api.py:874] failed (exitcode: -9) local_rank: 5 (pid: 2630) of binary: "
      "/usr/bin/python\n"
      "Failures:\n[1]:\n  host      : a.b\n  rank      : 0 (local_rank: 0)\n  exitcode  : -15 "
      "(pid: 5070)  (SIGTERM)\n"
      "Root Cause (first observed failure):\n[0]:\n  host      : w0\n  rank      : 13 (local_rank: "
      "5)\n  exitcode  : -9 (pid: 2630)\n";
  const auto found = find_torchrun_report(split_log(text));
  ASSERT_THAT(found, SizeIs(2));
  EXPECT_TRUE(found[0].stopped_by_torchrun());
  EXPECT_EQ(found[1].rank, 13);
  EXPECT_EQ(found[1].local_rank, 5);
  EXPECT_EQ(found[1].host, "w0");
  EXPECT_EQ(found[1].end, RankEnd(Signaled{9, false}));
  EXPECT_FALSE(found[1].stopped_by_torchrun()) << "torchrun calls it the root cause";
}

TEST(TorchrunReport, TheRootCauseComesBeforeTheOthersThatStandAboveIt) {
  const auto found = find_torchrun_report(split_log(
      "Failures:\n[1]:\n  host : a\n  rank : 1 (local_rank: 1)\n  exitcode  : -11 (pid: 2)\n"
      "Root Cause (first observed failure):\n"
      "[0]:\n  host : a\n  rank : 0 (local_rank: 0)\n  exitcode  : -11 (pid: 1)\n"));
  ASSERT_THAT(found, SizeIs(2));
  EXPECT_EQ(found[1].rank, 0);
  EXPECT_LT(found[1].order, found[0].order);
  EXPECT_GT(found[1].line, found[0].line);
}

TEST(TorchrunReport, AnExitCodeOutsideOfAReportIsNone) {
  EXPECT_THAT(
      find_torchrun_report(split_log("  exitcode  : 7 (pid: 3)\n  rank : x\nexitcode: 3\n")),
      IsEmpty());
}

}  // namespace
}  // namespace megalaunch
