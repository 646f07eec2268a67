#include "launcher/causes/remarks.h"

#include <gtest/gtest.h>

namespace megalaunch {
namespace {

TEST(Remarks, WarningsAndInformationEndNobody) {
  for (const std::string_view text :
       {"[W socket.cpp:663] connect failed, will try again", "[I1124 10:00:00 x.cpp:1] up",
        "W1124 10:01:40.071 617 run.py:793] OMP_NUM_THREADS", "WARNING: no module named apex",
        "gpu-1:7:7 [0] NCCL INFO NET/IB : No device found.",
        "CommandNotFoundError: Your shell has not been properly configured to use 'conda "
        "activate'.",
        "run.sh: line 45: --disable_tqdm: command not found",
        "  Error =>  [Errno 2] No such file or directory: 'rocminfo'",
        "rm: cannot remove '/tmp/lock': No such file or directory",
        "+ echo 'job exited with code 143'", "++ hostname -i"})
    EXPECT_TRUE(is_remark(text)) << text;
  for (const std::string_view text :
       {"gpu-1:7:7 [0] x.cc:3 NCCL WARN Cuda failure", "gpu-1:7:7 [0] NCCL INFO group.cc:64 -> 2",
        "WARNING:agent:Received 15 death signal, shutting down workers", "Waited 3 s"})
    EXPECT_FALSE(is_remark(text)) << text;
}

TEST(Remarks, InformationIsKnownByItsLevel) {
  for (const std::string_view text :
       {"INFO 04-28 15:04:33 model_runner.py:1017] Capturing", "INFO:megatron.core: built",
        "[2024-06-17 11:50:42,813] [INFO] [real_accelerator.py:203:get] cuda",
        "[INFO|trainer.py:1760] 2024-01-09 >> running",
        "2021-07-14 13:21:26,887 INFO x.py:58 -- up"})
    EXPECT_TRUE(is_information(text)) << text;
  EXPECT_FALSE(is_information("gpu-1:7:7 [0] NCCL INFO group.cc:64 -> 2"));
  EXPECT_FALSE(is_information("ERROR: no INFO"));
}

TEST(Remarks, ListsOfSettingsAreNoEvents) {
  EXPECT_TRUE(is_setting("  rerun_mode ............ disabled"));
  EXPECT_FALSE(is_setting("loading the checkpoint ... failed"));
}

TEST(Remarks, WhatAProgramGoesOnInSpiteOfIsSaidInTheSameLine) {
  EXPECT_TRUE(goes_on("no checkpoint found, starting From Scratch"));
  EXPECT_TRUE(goes_on("flash-attn cannot be imported; falling back to eager"));
  EXPECT_FALSE(goes_on("no checkpoint found"));
  EXPECT_FALSE(goes_on("gpu-1:12:34 [0] NCCL WARN Timeout waiting for RX - retrying"));
}

TEST(Remarks, TheReportOfALauncherIsKnown) {
  for (const std::string_view text : {"============================", "train.py FAILED",
                                      "Failures:", "[0]:", "  <NO_OTHER_FAILURES>",
                                      "  host      : gpu-1", "  rank      : 1 (local_rank: 1)",
                                      "  error_file: <N/A>", "Root Cause (first observed failure):",
                                      "[2023-07-26 15:19:24,960] [INFO] "
                                      "[launch.py:315:sigkill_handler] Killing subprocess 45098"})
    EXPECT_TRUE(is_launchers_report(text)) << text;
  for (const std::string_view text :
       {"unknown option : --x", "[train] the data set must not be empty", "缺少参数"})
    EXPECT_FALSE(is_launchers_report(text)) << text;
}

}  // namespace
}  // namespace megalaunch
