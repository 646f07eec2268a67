#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "env/result.h"

namespace megalaunch {

/// What the kernel says about which CPUs, caches and GPUs are near each other, for the CPUs that a
/// process may use. A plain value.
struct NumaTopology {
  struct Gpu {
    std::string pci_address;  ///< "0000:19:00.0"
    std::string uuid;         ///< "GPU-..."; may be empty
    int node = 0;
  };
  std::map<int, std::set<int>> nodes;  ///< CPUs by NUMA node; nodes without a usable CPU left out
  std::map<int, int> socket_of;        ///< by CPU
  std::map<int, int> core_of;          ///< the lowest CPU of the same physical core
  std::map<int, int> cache_of;         ///< the lowest CPU that shares the last-level cache
  std::vector<Gpu> gpus;               ///< in the order of their PCI addresses
};

/// Reads sysfs, and the NVIDIA driver's list of GPUs, below `root` ("/" but in tests). What is not
/// there is left out.
NumaTopology read_numa_topology(const std::filesystem::path& root,
                                const std::set<int>& usable_cpus);

/// The CPUs that this process may use.
std::set<int> usable_cpus();

/// How a rank is bound to CPUs near its GPU.
enum class NumaBinding {
  kNode,         ///< all CPUs of the GPU's NUMA node
  kSocket,       ///< all CPUs of its socket
  kExclusive,    ///< physical cores of the node that no other GPU of the node gets
  kCoreComplex,  ///< the CPUs of one last-level cache of the node
};
std::optional<NumaBinding> parse_numa_binding(std::string_view word);

/// The CPUs for the user of GPU `gpu`, an index into topology.gpus. Fails when there is no such
/// GPU, its node has no usable CPU, or (exclusive) fewer cores than GPUs.
Result<std::vector<int>> cpus_near_gpu(NumaBinding binding, const NumaTopology& topology,
                                       size_t gpu);

/// The GPU that CUDA calls `device` under this value of CUDA_VISIBLE_DEVICES (nothing: unset).
Result<size_t> gpu_of_device(const NumaTopology& topology,
                             const std::optional<std::string>& cuda_visible_devices, int device);

/// "0-2,4" as sysfs writes sets of numbers; what makes no sense is left out.
std::set<int> parse_number_ranges(std::string_view text);

}  // namespace megalaunch
