#include "launcher/results/nvml_monitor.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace megalaunch {
namespace {

// The part of NVML's binary interface that is used here, stable since driver 450. Every function
// returns 0 on success.
namespace nvml {

using Device = void*;
using EventSet = void*;

struct Memory {
  unsigned long long total, free, used;
};
struct Utilization {
  unsigned gpu, memory;
};
struct EventData {
  Device device;
  unsigned long long type;
  unsigned long long data;  ///< for an Xid event: its number
  unsigned gpu_instance, compute_instance;
};

/// Of nvmlDeviceGetComputeRunningProcesses_v2 and _v3.
struct ProcessInfo {
  unsigned pid;
  unsigned long long memory;
  unsigned gpu_instance, compute_instance;
};

constexpr int kSuccess = 0;
constexpr unsigned kCoreTemperature = 0;
constexpr int kUncorrected = 1;
constexpr int kSinceDriverLoad = 0;
constexpr unsigned long long kXidEvent = 0x8;

}  // namespace nvml

struct CloseLibrary {
  void operator()(void* handle) const { ::dlclose(handle); }
};
using Library = std::unique_ptr<void, CloseLibrary>;

/// NVML's functions. Those after `name` may be missing in an old driver; then they are null.
struct Functions {
  int (*init)() = nullptr;
  int (*shutdown)() = nullptr;
  const char* (*error_string)(int) = nullptr;
  int (*count)(unsigned*) = nullptr;
  int (*device)(unsigned, nvml::Device*) = nullptr;
  int (*name)(nvml::Device, char*, unsigned) = nullptr;
  int (*memory)(nvml::Device, nvml::Memory*) = nullptr;
  int (*utilization)(nvml::Device, nvml::Utilization*) = nullptr;
  int (*temperature)(nvml::Device, unsigned, unsigned*) = nullptr;
  int (*power)(nvml::Device, unsigned*) = nullptr;
  int (*ecc)(nvml::Device, int, int, unsigned long long*) = nullptr;
  int (*processes)(nvml::Device, unsigned*, nvml::ProcessInfo*) = nullptr;
  int (*create_events)(nvml::EventSet*) = nullptr;
  int (*register_events)(nvml::Device, unsigned long long, nvml::EventSet) = nullptr;
  int (*wait_event)(nvml::EventSet, nvml::EventData*, unsigned) = nullptr;
  int (*free_events)(nvml::EventSet) = nullptr;

  /// The first function that must be there and is not, or null.
  const char* load(void* library) {
    const auto find = [&](auto& function, const char* symbol) {
      function =
          reinterpret_cast<std::remove_reference_t<decltype(function)>>(::dlsym(library, symbol));
      return function != nullptr;
    };
    if (!find(init, "nvmlInit_v2")) return "nvmlInit_v2";
    if (!find(shutdown, "nvmlShutdown")) return "nvmlShutdown";
    if (!find(error_string, "nvmlErrorString")) return "nvmlErrorString";
    if (!find(count, "nvmlDeviceGetCount_v2")) return "nvmlDeviceGetCount_v2";
    if (!find(device, "nvmlDeviceGetHandleByIndex_v2")) return "nvmlDeviceGetHandleByIndex_v2";
    find(name, "nvmlDeviceGetName");
    find(memory, "nvmlDeviceGetMemoryInfo");
    find(utilization, "nvmlDeviceGetUtilizationRates");
    find(temperature, "nvmlDeviceGetTemperature");
    find(power, "nvmlDeviceGetPowerUsage");
    find(ecc, "nvmlDeviceGetTotalEccErrors");
    if (!find(processes, "nvmlDeviceGetComputeRunningProcesses_v3"))
      find(processes, "nvmlDeviceGetComputeRunningProcesses_v2");
    if (!find(create_events, "nvmlEventSetCreate") ||
        !find(register_events, "nvmlDeviceRegisterEvents") ||
        !find(wait_event, "nvmlEventSetWait_v2") || !find(free_events, "nvmlEventSetFree"))
      create_events = nullptr;
    return nullptr;
  }
};

/// Calls an NVML function that may be missing and gives what it wrote to its last parameter, unless
/// it failed.
template <class Value, class Function, class... Arguments>
std::optional<Value> ask(Function function, Arguments... arguments) {
  Value value{};
  if (function == nullptr || function(arguments..., &value) != nvml::kSuccess) return std::nullopt;
  return value;
}

class NvmlMonitor final : public GpuMonitor {
 public:
  NvmlMonitor(Library library, const Functions& functions)
      : library_(std::move(library)), nvml_(functions) {}
  ~NvmlMonitor() override {
    if (events_ != nullptr) nvml_.free_events(events_);
    nvml_.shutdown();
  }
  NvmlMonitor(const NvmlMonitor&) = delete;
  NvmlMonitor& operator=(const NvmlMonitor&) = delete;

  void open_devices(unsigned count) {
    if (nvml_.create_events != nullptr && nvml_.create_events(&events_) != nvml::kSuccess)
      events_ = nullptr;
    for (unsigned i = 0; i < count; ++i) {
      Gpu gpu;
      gpu.index = static_cast<int>(i);
      if (nvml_.device(i, &gpu.device) != nvml::kSuccess) continue;
      std::array<char, 96> name{};
      if (nvml_.name != nullptr &&
          nvml_.name(gpu.device, name.data(), name.size() - 1) == nvml::kSuccess)
        gpu.name = name.data();
      if (events_ != nullptr) nvml_.register_events(gpu.device, nvml::kXidEvent, events_);
      gpus_.push_back(std::move(gpu));
    }
  }
  bool empty() const { return gpus_.empty(); }

  std::vector<GpuSample> sample() override {
    collect_xids();
    std::vector<GpuSample> samples;
    samples.reserve(gpus_.size());
    for (const Gpu& gpu : gpus_) {
      GpuSample sample;
      sample.gpu = gpu.index;
      if (const auto memory = ask<nvml::Memory>(nvml_.memory, gpu.device))
        sample.memory_mib = static_cast<double>(memory->used) / (1024 * 1024);
      if (const auto rates = ask<nvml::Utilization>(nvml_.utilization, gpu.device))
        sample.utilization_percent = static_cast<int>(rates->gpu);
      if (const auto celsius = ask<unsigned>(nvml_.temperature, gpu.device, nvml::kCoreTemperature))
        sample.temperature_c = static_cast<int>(*celsius);
      if (const auto milliwatts = ask<unsigned>(nvml_.power, gpu.device))
        sample.power_w = *milliwatts / 1000.0;
      if (const auto errors = ask<unsigned long long>(nvml_.ecc, gpu.device, nvml::kUncorrected,
                                                      nvml::kSinceDriverLoad))
        sample.ecc_errors = static_cast<std::int64_t>(*errors);
      sample.xid_errors = gpu.xids;
      sample.last_xid = gpu.last_xid;
      sample.name = gpu.name;
      samples.push_back(sample);
    }
    return samples;
  }

  std::vector<GpuHolder> holders() override {
    std::vector<GpuHolder> found;
    std::array<nvml::ProcessInfo, 256> infos;
    for (const Gpu& gpu : gpus_) {
      auto count = static_cast<unsigned>(infos.size());
      if (nvml_.processes == nullptr ||
          nvml_.processes(gpu.device, &count, infos.data()) != nvml::kSuccess)
        continue;
      for (unsigned i = 0; i < std::min(count, static_cast<unsigned>(infos.size())); ++i)
        found.push_back({gpu.index, static_cast<int>(infos[i].pid)});
    }
    return found;
  }

 private:
  struct Gpu {
    int index = 0;
    nvml::Device device = nullptr;
    std::string name;
    std::int64_t xids = 0;
    std::optional<int> last_xid;
  };

  void collect_xids() {
    constexpr int kAtOnce = 64;  // a card that reports without end must not hold the launcher
    nvml::EventData event{};
    for (int i = 0; i < kAtOnce && events_ != nullptr &&
                    nvml_.wait_event(events_, &event, 0) == nvml::kSuccess;
         ++i) {
      const auto gpu = std::ranges::find(gpus_, event.device, &Gpu::device);
      if (gpu == gpus_.end() || event.type != nvml::kXidEvent) continue;
      ++gpu->xids;
      gpu->last_xid = static_cast<int>(event.data);
    }
  }

  Library library_;  // closed last
  Functions nvml_;
  nvml::EventSet events_ = nullptr;
  std::vector<Gpu> gpus_;
};

}  // namespace

Result<std::unique_ptr<GpuMonitor>> open_nvml(const std::vector<std::string>& paths) {
  Library library;
  std::string why;
  for (const std::string& path : paths) {
    library.reset(::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL));
    if (library) break;
    const char* reason = ::dlerror();
    why += fmt::format("{}{}", why.empty() ? "" : "; ", reason != nullptr ? reason : path);
  }
  if (!library) return fail(Error::Kind::kUnavailable, "load NVML: {}", why);

  Functions functions;
  if (const char* missing = functions.load(library.get()))
    return fail(Error::Kind::kUnavailable, "load NVML: the library has no {}", missing);
  if (const int error = functions.init(); error != nvml::kSuccess)
    return fail(Error::Kind::kUnavailable, "start NVML: {}", functions.error_string(error));
  auto monitor = std::make_unique<NvmlMonitor>(std::move(library), functions);
  monitor->open_devices(ask<unsigned>(functions.count).value_or(0));
  if (monitor->empty()) return fail(Error::Kind::kUnavailable, "NVML finds no GPU");
  return monitor;
}

}  // namespace megalaunch
