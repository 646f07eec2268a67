#include "launcher/causes/finding.h"

#include <gtest/gtest.h>

#include "launcher/causes/log_lines.h"

namespace megalaunch {
namespace {

Finding found_in(std::string_view log, const CauseRules& rules) {
  return find_cause(split_log(log), rules);
}

std::string rule_in(std::string_view log, const CauseRules& rules) {
  const Finding finding = found_in(log, rules);
  return finding.rule == nullptr ? "" : finding.rule->name;
}

CauseRules table(std::string_view yaml) {
  auto rules = CauseRules::parse(yaml, "t.yaml");
  EXPECT_TRUE(rules) << rules.error().message;
  return *std::move(rules);
}

TEST(Finding, ARuleWithAFrameSpeaksOnlyBehindSuchAFrame) {
  const CauseRules rules = table(R"(
rules:
  - {name: reading, kind: data, match: ^KeyError, frame: "store/*.py* in read"}
  - {name: compiler, kind: config, frame: /triton/}
  - {name: else, kind: config, match: [^KeyError, TypeError]})");
  EXPECT_EQ(rule_in("  File \"/store/a.py\", line 1, in read\n    x\nKeyError: 'x'\n", rules),
            "reading");
  EXPECT_EQ(rule_in("  File \"/store/a.py\", line 1, in write\n    x\nKeyError: 'x'\n", rules),
            "else");
  EXPECT_EQ(rule_in("KeyError: 'x'\n", rules), "else");
  EXPECT_EQ(rule_in("  File \"/triton/a.py\", line 1, in f\n    x\nTypeError: y\n", rules),
            "compiler")
      << "without a pattern it speaks of any exception";
  EXPECT_EQ(rule_in("TypeError in /triton/\n", rules), "else");
}

TEST(Finding, OfAnExceptionOnlyItsOwnTracebackCounts) {
  const CauseRules rules = table(R"(
rules:
  - {name: reading, kind: data, match: Error, frame: reader.py}
  - {name: else, kind: config, match: Error})");
  EXPECT_EQ(rule_in("  File \"reader.py\", line 1, in f\n    x\nKeyboardInterrupt\n"
                    "Traceback (most recent call last):\n  File \"b.py\", line 1, in f\n    x\n"
                    "KeyError: 1\n",
                    rules),
            "else");
}

TEST(Finding, AMereLineYieldsToTheExceptionBehindIt) {
  const CauseRules rules = CauseRules::built_in();
  const std::string_view raised = "Traceback (most recent call last):\nKeyError: 'lr'\n";
  const std::string before = "cache: Permission denied\nkey refused: 403 Forbidden\n";
  EXPECT_EQ(rule_in(before, rules), "missing-file");
  EXPECT_EQ(rule_in(before + std::string(raised), rules), "assertion");
  EXPECT_EQ(
      rule_in("NVRM: Xid (PCI:0000:3d:00): 79, GPU has fallen off the bus\n" + std::string(raised),
              rules),
      "gpu-hardware")
      << "hardware does not fail in passing";
}

TEST(Finding, WhatALauncherKillsBehindItsReportIsNoCause) {
  const CauseRules rules = CauseRules::built_in();
  const std::string_view exited = "srun: error: n1: task 5: Exited with exit code 1\n";
  const std::string_view killed = "srun: error: n1: tasks 3,7: Killed\n";
  EXPECT_EQ(found_in(std::string(exited) + std::string(killed), rules).kind, CauseKind::kUnknown);
  EXPECT_EQ(found_in(std::string(killed) + std::string(exited), rules).kind, CauseKind::kSignal);
}

TEST(Finding, WhatNcclSaysOfCudaBehindABrokenConnectionIsItsTearDown) {
  const CauseRules rules = CauseRules::built_in();
  const std::string broken =
      "a:7:8 [0] net_ib.cu:788 NCCL WARN NET/IB : Got completion with error 12\n";
  const std::string illegal =
      "a:7:9 [1] init.cu:194 NCCL WARN Cuda failure 'an illegal memory access was encountered'\n";
  EXPECT_EQ(rule_in(broken + illegal, rules), "peer-lost");
  EXPECT_EQ(rule_in(illegal + broken, rules), "device") << "the connection broke because of it";
  EXPECT_EQ(rule_in("b:6" + broken.substr(3) + illegal, rules), "device") << "another process's";
}

TEST(Finding, ACudaErrorBehindABrokenCollectiveOfItsRankIsItsTearDown) {
  const CauseRules rules = CauseRules::built_in();
  const std::string broken =
      "[Rank 3] Watchdog caught collective operation timeout: WorkNCCL(...)\n";
  const std::string illegal =
      "RuntimeError: CUDA error: an illegal memory access was encountered\n";
  EXPECT_EQ(found_in(broken + "[Rank 3] " + illegal, rules).kind, CauseKind::kNetwork);
  EXPECT_EQ(rule_in("[Rank 3] " + illegal + broken, rules), "device") << "it came first";
  EXPECT_EQ(rule_in(broken + "[Rank 2] " + illegal, rules), "device") << "another rank's";
  EXPECT_EQ(rule_in(broken + " iteration 7/ 10 |\n[Rank 3] " + illegal, rules), "device")
      << "the collective was survived";
  EXPECT_EQ(rule_in(broken + "[Rank 3] CUDA error: uncorrectable ECC error encountered\n", rules),
            "gpu-hardware");
}

TEST(Finding, WhatNcclItselfSaysIsJudgedByRulesThatSpeakOfIt) {
  const CauseRules rules = table(R"(
rules:
  - {name: files, kind: config, match: No such file}
  - {name: access, kind: config, match: [No such file, "NCCL WARN*Permission denied"]}
  - {name: network, kind: network, match: NCCL WARN})");
  const std::string nccl = "gpu-1:7:8 [0] NCCL WARN ";
  EXPECT_EQ(rule_in("open: No such file\n", rules), "files");
  EXPECT_EQ(rule_in(nccl + "open: No such device\n", rules), "network");
  EXPECT_EQ(rule_in(nccl + "open: No such file\n", rules), "access") << "it names NCCL";
}

TEST(Finding, ATracebackThatIsCutOffIsAnException) {
  const CauseRules rules = CauseRules::built_in();
  EXPECT_EQ(rule_in("  File \"a.py\", line 1, in f\n    raise AttributeError\n", rules),
            "assertion");
  EXPECT_EQ(rule_in("  File \"a.py\", line 1, in f\n    g(x,\n", rules), "program-error");
  EXPECT_EQ(
      rule_in("  File \"/x/torch/distributed/run.py\", line 7, in main\n    run(args)\n", rules),
      "");
  EXPECT_EQ(rule_in("Received 15 death signal, shutting down workers\n"
                    "  File \"a.py\", line 1, in f\n    g(x,\n",
                    rules),
            "stopped-by-launcher")
      << "it may be what the signal raised";
}

TEST(Finding, AnotherLineOfTheSameRuleMayNameTheRank) {
  const CauseRules rules = CauseRules::built_in();
  const Finding finding = found_in(
      "Loss.cu:94: Assertion `input_val >= zero && input_val <= one` failed.\n"
      "[E ProcessGroupNCCL.cpp:915] [Rank 1] NCCL watchdog thread terminated: CUDA error: "
      "device-side assert triggered\n",
      rules);
  EXPECT_EQ(finding.line, 1U);
  EXPECT_EQ(finding.rank, 1);
}

TEST(Finding, TheSpawnersHeadlineNamesTheRank) {
  const CauseRules rules = CauseRules::built_in();
  EXPECT_EQ(found_in("-- Process 3 terminated with the following error:\n"
                     "Traceback (most recent call last):\n  File \"a.py\", line 1, in f\n"
                     "KeyError: 'x'\n",
                     rules)
                .rank,
            3);
}

TEST(Finding, TheOneRankThatALauncherBlamesIsThatOfALineWithoutARank) {
  const CauseRules rules = CauseRules::built_in();
  const std::string line = "slurmstepd: error: execve(): ml: No such file or directory\n";
  const std::string blamed = "srun: error: gpu-1: task 3: Exited with exit code 2\n";
  EXPECT_EQ(found_in(line + blamed, rules).rank, 3);
  EXPECT_EQ(
      found_in(line + blamed + "srun: error: gpu-2: task 5: Exited with exit code 2\n", rules).rank,
      std::nullopt)
      << "one of two";
}

TEST(Finding, AProgressBarDrawnAgainAtTheEndIsNoProgress) {
  const CauseRules rules = CauseRules::built_in();
  const std::string before = " 3%|#| 3/90 [00:09<04:21,  3.0s/it]\n";
  const std::string raised = "Traceback (most recent call last):\nKeyError: 'lr'\n";
  const std::string after = "terminate called after throwing an instance of 'c10::Error'\n";
  EXPECT_EQ(rule_in(before + raised + before + after, rules), "assertion");
  EXPECT_EQ(rule_in(raised + before + after, rules), "assertion") << "the first one cut off";
  const std::string on = " 4%|#| 4/90 [00:12<04:21,  3.0s/it]\n";
  EXPECT_EQ(rule_in(before + raised + on + after, rules), "aborted") << "that was survived";
}

TEST(Finding, TheAgentsWarningThatItWasToldToEndCounts) {
  const CauseRules rules = CauseRules::built_in();
  const std::string agent = "WARNING:torch.distributed.elastic.agent.server.api:Received ";
  EXPECT_EQ(rule_in(agent + "15 death signal, shutting down workers\n", rules),
            "stopped-by-launcher");
  EXPECT_EQ(rule_in(agent + "a keep-alive, Connection refused\n", rules), "");
}

TEST(Finding, BlanksBehindALineDoNotHideItsEnd) {
  const CauseRules rules = table("rules: [{name: end, kind: signal, match: ^Terminated$}]");
  EXPECT_EQ(rule_in("Terminated   \n", rules), "end");
  EXPECT_EQ(rule_in("Terminated early\n", rules), "");
}

TEST(Finding, LastWordsCountWhereNothingElseSpeaks) {
  const CauseRules rules = table(R"(
rules:
  - {name: broken, kind: network, victim: true, match: "connection broke"}
  - {name: launcher, kind: unknown, weak: true, match: "exited with code 1"}
  - {name: last, kind: config, weak: true, victim: true, last_words: true, before_training: true,
     match: ["must not", "不能"]})");
  EXPECT_EQ(rule_in("loading\nthe batch must not be 0\n", rules), "last");
  EXPECT_EQ(rule_in("参数 batch 不能为空\n", rules), "last");
  EXPECT_EQ(rule_in("the batch must not be 0\n=====\nrank 3 exited with code 1\n", rules), "last")
      << "a launcher's report explains nothing";
  EXPECT_EQ(rule_in("the batch must not be 0\nconnection broke\n", rules), "broken");
  EXPECT_EQ(rule_in("WARNING: the batch must not be 0\nrank 3 exited with code 1\n", rules),
            "launcher");
  EXPECT_EQ(rule_in("the batch must not be 0\na\nb\nc\n", rules), "") << "it went on for long";
  EXPECT_EQ(rule_in("the batch must not be 0, using default\n", rules), "");
  EXPECT_EQ(rule_in("frame #8: must not(int) + 0x1f (0x7f in /lib/x.so)\n", rules), "")
      << "the name of a function is no word of the program";
  EXPECT_EQ(rule_in(" iteration 7/ 10 |\nthe batch must not be 0\n", rules), "");
  EXPECT_NE(rule_in("the batch must not be 0\nOddError: x\n", rules), "last");
}

TEST(Finding, ADriversWordsGiveTheClassOfAnExceptionElsewhere) {
  const CauseRules rules = CauseRules::built_in();
  EXPECT_EQ(found_in("ray.exceptions.RayTaskError(OddError): ray::f() (pid=7)\n", rules).kind,
            CauseKind::kConfig);
  EXPECT_EQ(rule_in("ray.exceptions.RayTaskError(KeyError): ray::f() (pid=7)\n", rules),
            "assertion");
  EXPECT_EQ(found_in("ray.exceptions.RayTaskError(RuntimeError): ray::f() (pid=7)\n"
                     "RuntimeError: NCCL error in: x.cpp:7\n",
                     rules)
                .kind,
            CauseKind::kNetwork)
      << "what it raised says more";
}

TEST(Finding, InformationRefusesNothingButMayTellOfASignal) {
  const CauseRules rules = CauseRules::built_in();
  EXPECT_EQ(rule_in("[INFO] x.py:7: cache: Permission denied\n", rules), "");
  EXPECT_EQ(rule_in("x.py:7: cache: Permission denied\n", rules), "missing-file");
  EXPECT_EQ(rule_in("INFO:root:received SIGTERM\n", rules), "terminated");
  EXPECT_EQ(rule_in("2020-01-20 19:45:24 [INFO] [Driver] OverflowError: too large\n", rules),
            "assertion");
}

}  // namespace
}  // namespace megalaunch
