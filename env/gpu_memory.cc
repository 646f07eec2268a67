#include "env/gpu_memory.h"

#include <dlfcn.h>

#include <algorithm>
#include <memory>

namespace megalaunch {
namespace {

/// The part of NVIDIA's management library that is needed, as its documentation declares it.
struct NvmlMemory {
  unsigned long long total, free, used;
};
using NvmlDevice = void*;

struct CloseLibrary {
  void operator()(void* library) const { ::dlclose(library); }
};

template <class Function>
Function* function_of(void* library, const char* name) {
  return reinterpret_cast<Function*>(::dlsym(library, name));
}

}  // namespace

std::optional<double> smallest_gpu_memory_mib() {
  const std::unique_ptr<void, CloseLibrary> library(
      ::dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL));
  if (!library) return std::nullopt;
  auto* init = function_of<int()>(library.get(), "nvmlInit_v2");
  auto* shutdown = function_of<int()>(library.get(), "nvmlShutdown");
  auto* count = function_of<int(unsigned*)>(library.get(), "nvmlDeviceGetCount_v2");
  auto* device_at =
      function_of<int(unsigned, NvmlDevice*)>(library.get(), "nvmlDeviceGetHandleByIndex_v2");
  auto* memory_of =
      function_of<int(NvmlDevice, NvmlMemory*)>(library.get(), "nvmlDeviceGetMemoryInfo");
  if (!init || !shutdown || !count || !device_at || !memory_of || init() != 0) return std::nullopt;
  std::optional<double> smallest;
  unsigned devices = 0;
  if (count(&devices) == 0) {
    for (unsigned i = 0; i < devices; ++i) {
      NvmlDevice device = nullptr;
      NvmlMemory memory{};
      if (device_at(i, &device) != 0 || memory_of(device, &memory) != 0) continue;
      const double mib = static_cast<double>(memory.total) / (1024.0 * 1024.0);
      smallest = std::min(smallest.value_or(mib), mib);
    }
  }
  shutdown();
  return smallest;
}

}  // namespace megalaunch
