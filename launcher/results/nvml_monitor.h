#pragma once

#include <memory>
#include <string>
#include <vector>

#include "env/result.h"
#include "launcher/results/gpu_monitor.h"

namespace megalaunch {

/// Where the driver's library may be, in the order of trying; the second is where some container
/// platforms mount it.
inline const std::vector<std::string> kNvmlPaths{"libnvidia-ml.so.1",
                                                 "/usr/local/nvidia/lib64/libnvidia-ml.so.1"};

/// Loads NVIDIA's management library at run time and opens all GPUs. Nothing of it is needed to
/// build or to start. kUnavailable, with the reason, on a machine without the library, the driver
/// or GPUs: then go on without GPU samples. The library stays loaded until the monitor is
/// destroyed.
Result<std::unique_ptr<GpuMonitor>> open_nvml(const std::vector<std::string>& paths = kNvmlPaths);

}  // namespace megalaunch
