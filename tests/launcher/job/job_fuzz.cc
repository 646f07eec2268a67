#include <cstddef>
#include <cstdint>
#include <string>

#include "launcher/job/job.h"
#include "launcher/megatron/command.h"

// Any bytes are a job file: it is either refused with a reason or goes all the way to a command. A
// second part, after a zero byte, is a --set.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace megalaunch;
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  const size_t zero = bytes.find('\0');
  std::vector<std::string> sets;
  if (zero != std::string::npos) sets.push_back(bytes.substr(zero + 1));
  const LoadedJob loaded = parse_job(bytes.substr(0, zero), "fuzz.yaml",
                                     Variables({{"A", "x"}, {"B", ""}}), sets, "/start");
  if (loaded.job.has_value() != loaded.errors.empty()) __builtin_trap();
  for (const JobError& error : loaded.errors)
    if (error.message.empty() || error.to_string().empty()) __builtin_trap();
  if (!loaded.job) return 0;
  HostFacts host;
  host.only_looks = true;
  const PlannedLaunch planned = plan_launch(*loaded.job, Variables(), host);
  if (!planned.plan || !loaded.job->megatron) return 0;
  const PlannedMegatron megatron =
      plan_megatron(*loaded.job, *planned.plan, Variables(), WallTime());
  if (megatron.command.has_value() != megatron.errors.empty()) __builtin_trap();
  return 0;
}
