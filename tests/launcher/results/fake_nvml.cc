// A stand-in for libnvidia-ml.so.1 with two GPUs: the second has no power sensor and no ECC, and
// reports an Xid event in every second round, and is held by the process FAKE_NVML_HOLDER.
// FAKE_NVML in the environment says what fails: "init" or "no-gpu".
#include <cstdlib>
#include <cstring>

namespace {

char gpus[2];
int events_waiting = 0;
int rounds = 0;

bool fails(const char* what) {
  const char* wanted = std::getenv("FAKE_NVML");
  return wanted != nullptr && std::strcmp(wanted, what) == 0;
}

constexpr int kNotSupported = 3;

struct Memory {
  unsigned long long total, free, used;
};
struct ProcessInfo {
  unsigned pid;
  unsigned long long memory;
  unsigned gpu_instance, compute_instance;
};
struct Utilization {
  unsigned gpu, memory;
};
struct EventData {
  void* device;
  unsigned long long type, data;
  unsigned gpu_instance, compute_instance;
};

}  // namespace

extern "C" {
int nvmlInit_v2() {
  events_waiting = rounds = 0;
  return fails("init") ? 9 : 0;
}
int nvmlShutdown() {
  return 0;
}
const char* nvmlErrorString(int error) {
  return error == 9 ? "Driver Not Loaded" : "Unknown Error";
}
int nvmlDeviceGetCount_v2(unsigned* count) {
  *count = fails("no-gpu") ? 0 : 2;
  return 0;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void** device) {
  *device = &gpus[index];
  return 0;
}
int nvmlDeviceGetName(void* device, char* name, unsigned size) {
  std::strncpy(name, device == &gpus[0] ? "NVIDIA H100 80GB HBM3" : "NVIDIA H20", size);
  return 0;
}
int nvmlDeviceGetMemoryInfo(void* device, Memory* memory) {
  memory->used = (device == &gpus[0] ? 67710ull : 12ull) << 20;
  return 0;
}
int nvmlDeviceGetUtilizationRates(void* device, Utilization* rates) {
  rates->gpu = device == &gpus[0] ? 98 : 0;
  return 0;
}
int nvmlDeviceGetTemperature(void* device, unsigned sensor, unsigned* celsius) {
  *celsius = device == &gpus[0] ? 61 : 30;
  return sensor == 0 ? 0 : 2;
}
int nvmlDeviceGetPowerUsage(void* device, unsigned* milliwatts) {
  *milliwatts = 655250;
  return device == &gpus[0] ? 0 : kNotSupported;
}
int nvmlDeviceGetTotalEccErrors(void* device, int type, int counter, unsigned long long* errors) {
  *errors = 5;
  return device == &gpus[0] && type == 1 && counter == 0 ? 0 : kNotSupported;
}
int nvmlDeviceGetComputeRunningProcesses_v3(void* device, unsigned* count, ProcessInfo* infos) {
  const char* holder = std::getenv("FAKE_NVML_HOLDER");
  const unsigned room = *count;
  *count = device == &gpus[1] && holder != nullptr ? 1 : 0;
  if (*count > room) return 7;  // insufficient size
  if (*count == 1) infos[0] = {static_cast<unsigned>(std::atoi(holder)), 1ull << 30, ~0u, ~0u};
  return 0;
}
int nvmlEventSetCreate(void** set) {
  *set = &events_waiting;
  return 0;
}
int nvmlDeviceRegisterEvents(void*, unsigned long long types, void*) {
  return types == 8 ? 0 : 2;
}
int nvmlEventSetWait_v2(void*, EventData* event, unsigned timeout_ms) {
  if (events_waiting == 0 && rounds++ % 2 == 0) {
    events_waiting = 1;
    *event = {&gpus[1], 8, 79, 0, 0};
    return timeout_ms == 0 ? 0 : 2;
  }
  events_waiting = 0;
  return 10;  // timeout
}
int nvmlEventSetFree(void*) {
  return 0;
}
}
