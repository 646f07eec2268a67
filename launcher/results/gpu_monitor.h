#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace megalaunch {

/// What one GPU of this node says about itself at one moment. A driver or card need not know
/// everything.
struct GpuSample {
  int gpu = 0;                         ///< the driver's index, whatever CUDA_VISIBLE_DEVICES says
  std::optional<double> memory_mib{};  ///< in use, by all processes
  std::optional<int> utilization_percent{};
  std::optional<int> temperature_c{};
  std::optional<double> power_w{};
  std::optional<std::int64_t> ecc_errors{};  ///< uncorrected, since the driver was loaded
  std::int64_t xid_errors = 0;               ///< critical Xid events since the monitor was opened
  std::optional<int> last_xid{};             ///< number of the newest of them
  std::string name{};                        ///< the driver's: "NVIDIA H100 80GB HBM3"

  bool operator==(const GpuSample&) const = default;
};

/// A process that holds a GPU. The number is the driver's: in a container with a pid namespace of
/// its own it is the host's, and fits no process that the container knows.
struct GpuHolder {
  int gpu = 0;
  int pid = 0;

  bool operator==(const GpuHolder&) const = default;
};

/// The GPUs of this node, asked from time to time. Real: open_nvml(); for tests:
/// tests/lib/fake_gpu_monitor.h. One thread at a time.
class GpuMonitor {
 public:
  virtual ~GpuMonitor() = default;
  /// One sample per GPU, in the order of the indices. Never fails: what cannot be read is absent.
  /// About a millisecond a GPU, in which it blocks.
  virtual std::vector<GpuSample> sample() = 0;
  /// The processes that compute on a GPU, also those that are gone and that the driver is still
  /// clearing up after. Empty when the driver does not tell.
  virtual std::vector<GpuHolder> holders() = 0;
};

}  // namespace megalaunch
