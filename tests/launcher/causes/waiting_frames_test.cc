#include "launcher/causes/waiting_frames.h"

#include <gtest/gtest.h>

namespace megalaunch {
namespace {

TEST(WaitingFrames, LaunchersAndCallsThatWaitAreSome) {
  for (const std::string_view frame :
       {R"(  File "/x/torch/distributed/run.py", line 793, in run)",
        R"(  File "/x/bin/torchrun", line 8, in <module>)",
        R"(  File "/usr/lib/python3.10/subprocess.py", line 369, in check_call)",
        R"(  File "/x/torch/multiprocessing/spawn.py", line 158, in join)",
        R"(File "/x/concurrent/futures/_base.py", line 446, in result)",
        R"(  File "/x/submitit/core/core.py", line 266, in result)",
        R"(  File "/usr/lib/python3.10/multiprocessing/popen_fork.py", line 43, in wait)",
        R"(  File "/x/ray/_private/worker.py", line 2623, in get)"})
    EXPECT_TRUE(waits_for_others(frame)) << frame;
}

TEST(WaitingFrames, ThoseOfTheStartedProcessAndOfThePrograms) {
  for (
      const std::string_view frame :
      {R"(  File "/x/torch/multiprocessing/spawn.py", line 69, in _wrap)",
       R"(  File "/x/torch/distributed/elastic/multiprocessing/errors/__init__.py", line 346, in wrapper)",
       R"(  File "/x/multiprocessing/process.py", line 315, in _bootstrap)",
       R"(  File "/x/concurrent/futures/thread.py", line 58, in run)",
       R"(  File "/x/submitit/core/submission.py", line 55, in process_job)",
       R"(  File "/x/lightning/pytorch/strategies/launchers/subprocess_script.py", line 105, in launch)",
       R"(  File "/x/train.py", line 7, in wait)"})
    EXPECT_FALSE(waits_for_others(frame)) << frame;
}

}  // namespace
}  // namespace megalaunch
