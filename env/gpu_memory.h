#pragma once

#include <optional>

namespace megalaunch {

/// Memory of the smallest GPU of this machine in MiB, from NVIDIA's library when it is there;
/// nothing otherwise.
std::optional<double> smallest_gpu_memory_mib();

}  // namespace megalaunch
