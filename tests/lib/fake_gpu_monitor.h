#pragma once

#include <utility>

#include "launcher/results/gpu_monitor.h"

namespace megalaunch {

/// GPUs that say what a test puts in.
class FakeGpuMonitor final : public GpuMonitor {
 public:
  explicit FakeGpuMonitor(std::vector<GpuSample> gpus) : gpus(std::move(gpus)) {}
  std::vector<GpuSample> sample() override {
    ++rounds;
    return gpus;
  }

  std::vector<GpuHolder> holders() override { return held; }

  std::vector<GpuSample> gpus;
  std::vector<GpuHolder> held;
  int rounds = 0;
};

}  // namespace megalaunch
