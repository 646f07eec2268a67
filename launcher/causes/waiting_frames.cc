#include "launcher/causes/waiting_frames.h"

#include <array>

namespace megalaunch {
namespace {

/// The files in which one waits, and the functions that do; none: all of the file.
struct Place {
  std::string_view file;
  std::array<std::string_view, 8> functions{};
};

constexpr Place kPlaces[] = {
    // Launchers.
    {"torch/distributed/run.py"},
    {"torch/distributed/launch"},
    {"torch/distributed/elastic/agent/"},
    {"torch/distributed/elastic/rendezvous/"},
    {"torch/distributed/elastic/multiprocessing/api.py",
     {"wait", "_poll", "start", "close", "_wait", "root_cause"}},
    {"torch/distributed/elastic/metrics/"},
    {"bin/torchrun"},
    {"accelerate/commands/"},
    {"bin/accelerate"},
    {"deepspeed/launcher/"},
    {"bin/deepspeed"},
    {"horovod/runner/"},
    {"colossalai/cli/"},
    // Waiting.
    {"torch/distributed/c10d_logger.py"},
    {"subprocess.py"},
    {"multiprocessing/spawn.py", {"start_processes", "spawn", "join"}},
    {"multiprocess", {"join", "wait", "poll", "_wait_for_tstate_lock", "_poll"}},
    {"threading.py", {"join", "wait", "_wait_for_tstate_lock"}},
    {"concurrent/futures/", {"result", "exception", "wait", "as_completed", "result_iterator"}},
    {"submitit/core/", {"result", "results", "wait", "exception", "_handle_timeout"}},
    {"joblib/", {"retrieve", "_retrieve", "get_result", "wrap_future_result"}},
    {"dask/", {"gather", "_gather"}},
    {"ray/_private/worker.py", {"get", "get_objects", "wait"}},
    {"ray/worker.py", {"get", "get_objects", "wait"}},
    {"ray/_private/auto_init_hook.py"},
    {"ray/_private/client_mode_hook.py"},
    {"ray/util/client/"},
    {"ray/train/", {"get_next_results", "fit", "_fetch_next_result"}},
    {"selectors.py", {"select"}},
};

}  // namespace

bool waits_for_others(std::string_view frame) {
  const size_t in = frame.rfind(", in ");
  const std::string_view function = in == frame.npos ? std::string_view{} : frame.substr(in + 5);
  for (const Place& place : kPlaces) {
    if (frame.find(place.file) == frame.npos) continue;
    if (place.functions.front().empty()) return true;
    for (const std::string_view one : place.functions)
      if (!one.empty() && function == one) return true;
  }
  return false;
}

}  // namespace megalaunch
