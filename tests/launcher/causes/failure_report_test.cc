#include "launcher/causes/failure_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace megalaunch {
namespace {

using testing::HasSubstr;
using testing::Not;

struct Case {
  std::vector<Evidence> evidence;
  Verdict verdict;
  RestartDecision decision;
  ReportFacts facts{.job = "llama",
                    .run_id = "r1",
                    .generation = 3,
                    .nodes = 2,
                    .ranks = 4,
                    .ended = WallTime(milliseconds(1'730'996'841'250)),
                    .log_dir = "/logs/r1/attempt_3"};
};

Case one_cause_and_victims() {
  Case made;
  for (int i = 0; i < 4; ++i) {
    Evidence one;
    one.rank = i;
    one.node_rank = i / 2;
    one.local_rank = i % 2;
    one.host = "gpu-" + std::to_string(i / 2);
    one.pid = 100 + i;
    one.end = Exited{1};
    one.ended_at = made.facts.ended;
    one.stderr_tail = i == 2 ? "Traceback (most recent call last):\n  File \"t.py\", line "
                               "1\n\x1b[31mValueError: bad \x07settings\n"
                             : "RuntimeError: Connection reset by peer\n";
    made.evidence.push_back(one);
  }
  made.evidence[2].clock_offset = milliseconds(12);
  made.evidence[3].stopped_by_us = true;
  const CauseRules rules = CauseRules::built_in();
  made.verdict = decide(made.evidence, rules);
  for (Finding& finding : made.verdict.findings) finding.rule = nullptr;  // the rules end here
  made.decision = decide_restart({}, {}, made.verdict, made.evidence[2].end, {});
  return made;
}

TEST(FailureReport, SaysWhatWhereWhyAndWhatFollows) {
  const Case c = one_cause_and_victims();
  const std::string text = report_text(c.facts, c.evidence, c.verdict, c.decision);
  EXPECT_THAT(
      text, HasSubstr("llama: generation 3 failed (4 ranks on 2 nodes, 2024-11-07T16:27:21.250Z)"));
  EXPECT_THAT(text, HasSubstr("First:    rank 2 (node 1, host gpu-1, local rank 0, pid 102)"));
  EXPECT_THAT(text, HasSubstr("exited with code 1 (clock of node 1: +12.0 ms, known to 0.0 ms)"));
  EXPECT_THAT(text, HasSubstr("Why:      config (rule assertion)"));
  EXPECT_THAT(text, HasSubstr("  |   File \"t.py\", line 1\n"));
  EXPECT_THAT(text, HasSubstr("Victims:  2 more failed because of it: rank 0-1"));
  EXPECT_THAT(text, HasSubstr("Stopped:  1 healthy rank"));
  EXPECT_THAT(text, HasSubstr("Decision: another attempt does not cure this (config)"));
  EXPECT_THAT(text, HasSubstr("Logs:     /logs/r1/attempt_3\n"));
  EXPECT_THAT(text, Not(HasSubstr("\x07")))
      << "control characters of a log stay out of the terminal";
}

TEST(FailureReport, JsonSaysTheSame) {
  const Case c = one_cause_and_victims();
  const auto json = report_json(c.facts, c.evidence, c.verdict, c.decision);
  EXPECT_EQ(json["kind"], "config");
  EXPECT_EQ(json["rule"], "assertion");
  EXPECT_EQ(json["retry"], false);
  EXPECT_EQ(json["exit_code"], 1);
  EXPECT_EQ(json["first"]["rank"], 2);
  EXPECT_EQ(json["first"]["host"], "gpu-1");
  EXPECT_EQ(json["first"]["clock_offset_ms"], 12.0);
  EXPECT_EQ(json["first"]["lines"].size(), 3U);
  EXPECT_EQ(json["victims"].size(), 2U);
  EXPECT_EQ(json["stopped"], 1);
}

TEST(FailureReport, LogTextThatIsNotUtf8StillMakesJson) {
  Case c = one_cause_and_victims();
  c.verdict.text = "bad \xff byte";
  EXPECT_THAT(report_json(c.facts, c.evidence, c.verdict, c.decision).dump(),
              HasSubstr("bad \uFFFD byte"));
}

TEST(FailureReport, ARetryIsAnnouncedWithItsDelay) {
  Case c = one_cause_and_victims();
  c.verdict.kind = CauseKind::kNetwork;
  c.verdict.habit = {.retries = 3};
  c.decision = decide_restart({}, {}, c.verdict, Exited{1}, {});
  EXPECT_THAT(report_text(c.facts, c.evidence, c.verdict, c.decision), HasSubstr("in 5.0 s"));
  EXPECT_EQ(report_json(c.facts, c.evidence, c.verdict, c.decision)["retry_after_ms"], 5000);
}

TEST(FailureReport, AGenerationWithoutAFailedRankHasAReportToo) {
  const Case c;
  EXPECT_THAT(report_text(c.facts, {}, {}, {End{0}, "all ranks ended", {}}),
              HasSubstr("No rank failed by itself"));
  EXPECT_EQ(report_json(c.facts, {}, {}, {End{0}, "", {}})["first"], nullptr);
}

}  // namespace
}  // namespace megalaunch
