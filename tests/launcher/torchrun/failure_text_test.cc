#include "launcher/torchrun/failure_text.h"

#include <gmock/gmock.h>

#include "launcher/causes/cause_rules.h"
#include "launcher/causes/log_lines.h"
#include "launcher/causes/torchrun_report.h"

namespace megalaunch {
namespace {

using testing::HasSubstr;

Evidence rank(int number, RankEnd end, int64_t at, bool stopped = false) {
  Evidence evidence;
  evidence.host = "node-0";
  evidence.rank = evidence.local_rank = number;
  evidence.pid = 100 + number;
  evidence.end = end;
  evidence.ended_at = WallTime(seconds(at));
  evidence.stopped_by_us = stopped;
  return evidence;
}

std::string text_of(const std::vector<Evidence>& evidence) {
  const CauseRules rules = CauseRules::built_in();
  return torchrun_failure_text("train.py", "/usr/bin/python3", evidence, decide(evidence, rules));
}

TEST(FailureText, IsWhatTheReaderOfTorchrunsReportsUnderstands) {
  const std::string text =
      text_of({rank(0, Signaled{15, false}, 20, true), rank(1, Exited{7}, 10)});
  const auto found = find_torchrun_report(split_log(text));
  ASSERT_EQ(found.size(), 2U);
  EXPECT_TRUE(found[0].stopped_by_torchrun());
  EXPECT_TRUE(found[1].root_cause);
  EXPECT_EQ(found[1].rank, 1);
  EXPECT_EQ(found[1].pid, 101);
  EXPECT_EQ(found[1].end, RankEnd(Exited{7}));
  EXPECT_EQ(found[1].host, "node-0");
}

TEST(FailureText, NamesTheFirstFailureAndSaysWhenThereIsNoOther) {
  const std::string text = text_of({rank(1, Exited{7}, 10)});
  EXPECT_THAT(
      text,
      HasSubstr("failed (exitcode: 7) local_rank: 1 (pid: 101) of binary: /usr/bin/python3\n"));
  EXPECT_THAT(text, HasSubstr("train.py FAILED\n"));
  EXPECT_THAT(text, HasSubstr("Failures:\n  <NO_OTHER_FAILURES>\n"));
  EXPECT_THAT(text, HasSubstr("  exitcode  : 7 (pid: 101) \n  error_file: <N/A>\n"));
}

TEST(FailureText, SignalsAreNegativeWithTheirName) {
  EXPECT_THAT(text_of({rank(0, Signaled{9, false}, 10)}),
              HasSubstr("  exitcode  : -9 (pid: 100)  (SIGKILL)\n  error_file: <N/A>\n"
                        "  traceback : Signal 9 (SIGKILL) received by PID 100\n"));
}

TEST(FailureText, ShowsTheTracebackOfTheErrorFileIndented) {
  Evidence evidence = rank(0, Exited{1}, 10);
  ErrorFile file;
  file.message = "ValueError: x";
  file.py_callstack = "Traceback:\n  line";
  file.path = "/logs/error.json";
  evidence.error_file = file;
  EXPECT_THAT(text_of({evidence}),
              HasSubstr("  error_file: /logs/error.json\n  traceback : Traceback:\n    line\n"));
}

TEST(FailureText, TheFrameIsAsWideAsTheLongestLineUpToSixty) {
  const std::string text = text_of({rank(0, Exited{1}, 10)});
  EXPECT_THAT(text, HasSubstr("\n" + std::string(60, '=') + "\ntrain.py FAILED\n" +
                              std::string(60, '-') + "\n"));
}

TEST(FailureText, NothingFailedIsNothingSaid) {
  EXPECT_EQ(text_of({rank(0, Exited{0}, 10)}), "");
}

}  // namespace
}  // namespace megalaunch
