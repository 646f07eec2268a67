#pragma once

#include <string_view>

namespace megalaunch {

/// Whether a frame of a traceback ("File "/x/subprocess.py", line 413, in check_call") is of a
/// launcher, or of a call that waits for another process or thread. What a driver writes while it
/// waits tells that the other one failed, not why. The frames of the same files in the process that
/// was started are none (torch.multiprocessing's `_wrap`, torch's `record`).
bool waits_for_others(std::string_view frame);

}  // namespace megalaunch
