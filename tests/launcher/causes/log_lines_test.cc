#include "launcher/causes/log_lines.h"

#include <gtest/gtest.h>

namespace megalaunch {
namespace {

TEST(LogLines, LinesAreCountedAsAnEditorDoes) {
  const auto lines = split_log("one\r\ntwo\n\n 1%|\r 2%|\rthree\nfour");
  ASSERT_EQ(lines.size(), 6U);
  EXPECT_EQ(lines[0].text, "one");
  EXPECT_EQ(lines[1].number, 2U);
  EXPECT_EQ(lines[4].text, "three");
  EXPECT_EQ(lines[4].number, 4U);
  EXPECT_EQ(lines[5].number, 5U);
}

TEST(LogLines, AMessageBehindAProgressBarIsALineOfItsOwn) {
  const auto lines = split_log(
      "  2%|#   | 13/620 [01:07<50:20,  4.98s/it][rank4]:[E1 x] y\n"
      " 9%|# | 1/9 [00:01<00:20, 2.5it/s, loss=1]W0526 z\n");
  ASSERT_EQ(lines.size(), 4U);
  EXPECT_TRUE(is_progress(lines[0].text));
  EXPECT_EQ(lines[1].text, "[E1 x] y");
  EXPECT_EQ(lines[1].label.rank, 4);
  EXPECT_EQ(lines[3].text, "W0526 z");
  EXPECT_EQ(lines[3].number, 2U);
}

TEST(LogLines, ProgressIsAnIterationOrAStep) {
  std::optional<long> iteration;
  EXPECT_TRUE(is_progress(
      " iteration      120/    1000 | consumed samples:  122880 | lm loss: 2.1E+00 |", &iteration));
  EXPECT_EQ(iteration, 120);
  EXPECT_TRUE(is_progress("  2%|x  | 13/620 [01:07<50:20,  4.98s/it]"));
  EXPECT_TRUE(is_progress("{'loss': 0.8533, 'grad_norm': 4.8}"));
  EXPECT_FALSE(is_progress("  0%|          | 0/620 [00:00<?, ?it/s]"));
  EXPECT_TRUE(is_progress("Train:  71%|#######1  | 480/672 [6:31:08<2:23:20, 44.79s/it]"));
  EXPECT_FALSE(is_progress("Loading checkpoint shards: 100%|####| 2/2 [00:37<00:00, 18.62s/it]"));
  EXPECT_FALSE(is_progress("setting training iterations to 11920"));
}

TEST(LogLines, ExceptionsEndTracebacks) {
  for (const char* line :
       {"ValueError: x", "AssertionError", "torch.cuda.OutOfMemoryError: CUDA out of memory.",
        "KeyboardInterrupt", "  ValueError: in torchrun's report",
        "RuntimeError: ", "torch._dynamo.exc.Unsupported: call", "click.exceptions.NoSuchOption: x",
        "_pickle.UnpicklingError: x"})
    EXPECT_TRUE(is_exception(line)) << line;
  for (const char* line :
       {"", "Exception: ", "Error handling is on", "    raise ValueError(x)", "see ValueError: x",
        "Warning: x", "12Error: x", "UserWarning: ValueError: x", "no errors here",
        "my.errors.log: x", "NCCL.Net: x"})
    EXPECT_FALSE(is_exception(line)) << line;
  EXPECT_TRUE(is_exception("mine.Uncapturable: x", true));
  for (const char* line : {"srun: error: x", "Killed", "  Note: x", "ChildFailedError: x"})
    EXPECT_FALSE(is_exception(line, true)) << line;
}

TEST(LogLines, NcclNamesItsProcess) {
  EXPECT_EQ(nccl_process("gpu5:35917:35994 [0] transport/net_ib.cu:788 NCCL WARN NET/IB : x"),
            "gpu5:35917");
  for (const char* line :
       {"", "gpu5:35917:35994 [0] x", "gpu5: Test NCCL failure common.cu:343 'x'",
        "a line: of NCCL WARN 1:2", "gpu5:x:1 [0] NCCL INFO y"})
    EXPECT_EQ(nccl_process(line), "") << line;
}

TEST(LogLines, NcclTracesACallThatFailed) {
  EXPECT_TRUE(is_nccl_failing("a:1:2 [0] NCCL INFO group.cc:64 -> 2 [Async thread]"));
  EXPECT_TRUE(is_nccl_failing("a:1:2 [0] NCCL INFO misc/socket.cc:749 -> 6"));
  for (const char* line :
       {"a:1:2 [0] NCCL INFO init.cc:64 -> 7", "a:1:2 [0] NCCL INFO init.cc:64 -> 0",
        "a:1:2 [0] NCCL INFO Channel 00 : 0[0] -> 1[1] via P2P/IPC",
        "a:1:2 [0] NCCL INFO Ring x.cc:00 : 0 -> 1", "group.cc:64 -> 2"})
    EXPECT_FALSE(is_nccl_failing(line)) << line;
}

TEST(LogLines, ALoggerWritesExceptionsIntoItsLines) {
  EXPECT_EQ(logged_exception("CRITICAL [util:158, rank=0] Uncaught DataError: thread 3"),
            "DataError: thread 3");
  EXPECT_EQ(logged_exception("| ERROR | main:7 - a.b.KeyError: 'x'"), "KeyError: 'x'");
  EXPECT_EQ(logged_exception("[job] x2025-05-23T16:49 TypeError: f()"), "TypeError: f()");
  EXPECT_EQ(logged_exception("528 RuntimeError: dense"), "RuntimeError: dense");
  for (const char* line :
       {"INFO saw ValueError: x", "raise ValueError: x", "1 saw ValueError: x", "ERROR: nothing",
        "ERROR", "", "ERROR:elastic.api:failed (exitcode: 1)", "ERROR in MyError handling"})
    EXPECT_EQ(logged_exception(line), "") << line;
}

TEST(LogLines, ATracebackIsGivenWholeFromAmongOtherRanksLines) {
  const auto lines = split_log(
      "[rank0]: loading\n"
      "[rank1]: Traceback (most recent call last):\n"
      "[rank0]: Traceback (most recent call last):\n"
      "[rank1]:   File \"a.py\", line 1, in <module>\n"
      "[rank1]:     f()\n"
      "[rank0]:   File \"b.py\", line 2\n"
      "[rank1]: KeyError: 'a'\n"
      "\n"
      "[rank1]: During handling of the above exception, another exception occurred:\n"
      "[rank1]: Traceback (most recent call last):\n"
      "[rank1]:   File \"a.py\", line 9, in f\n"
      "[rank1]: ValueError: b\n"
      "[rank1]:     more of the message\n"
      "[rank1]: exit\n");
  size_t index = 0;
  while (lines[index].text != "ValueError: b") ++index;
  const auto matter = lines_that_matter(lines, index);
  ASSERT_EQ(matter.size(), 9U);
  EXPECT_EQ(matter.front(), "Traceback (most recent call last):");
  EXPECT_EQ(matter[3], "KeyError: 'a'");
  EXPECT_EQ(matter.back(), "    more of the message");
}

TEST(LogLines, ATracebackWithoutEndLosesItsMiddle) {
  std::string log = "Traceback (most recent call last):\n";
  for (int i = 0; i < 500; ++i) log += "  File \"a.py\", line " + std::to_string(i) + "\n";
  log += "RecursionError: deep\n";
  const auto lines = split_log(log);
  const auto matter = lines_that_matter(lines, lines.size() - 1, 50);
  EXPECT_EQ(matter.size(), 51U);
  EXPECT_EQ(matter.front(), "Traceback (most recent call last):");
  EXPECT_EQ(matter.back(), "RecursionError: deep");
}

}  // namespace
}  // namespace megalaunch
