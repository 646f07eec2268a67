#include "env/numa.h"

#include <sched.h>

#include <algorithm>
#include <charconv>
#include <fstream>

namespace megalaunch {
namespace {

namespace fs = std::filesystem;

std::string first_line(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::optional<int> number(std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end == text.data()) return std::nullopt;
  return value;
}

/// The number in a name such as "node3" or "index2".
std::optional<int> number_behind(std::string_view prefix, const std::string& name) {
  if (!name.starts_with(prefix)) return std::nullopt;
  return number(std::string_view(name).substr(prefix.size()));
}

/// The CPUs that share the highest level of cache with this one.
std::set<int> sharing_last_cache(const fs::path& cpu) {
  std::set<int> sharing;
  int highest = -1;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(cpu / "cache", error)) {
    if (!number_behind("index", entry.path().filename().string())) continue;
    if (first_line(entry.path() / "type") == "Instruction") continue;
    const int level = number(first_line(entry.path() / "level")).value_or(-1);
    if (level <= highest) continue;
    highest = level;
    sharing = parse_number_ranges(first_line(entry.path() / "shared_cpu_list"));
  }
  return sharing;
}

std::string gpu_uuid(const fs::path& information) {
  std::ifstream file(information);
  for (std::string line; std::getline(file, line);) {
    const size_t at = line.find("GPU-");
    if (line.starts_with("GPU UUID") && at != line.npos) return line.substr(at);
  }
  return {};
}

std::vector<NumaTopology::Gpu> read_gpus(const fs::path& root) {
  std::vector<NumaTopology::Gpu> gpus;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(root / "proc/driver/nvidia/gpus", error)) {
    NumaTopology::Gpu gpu;
    gpu.pci_address = entry.path().filename().string();
    gpu.uuid = gpu_uuid(entry.path() / "information");
    // -1 on machines with one node only.
    const auto node =
        number(first_line(root / "sys/bus/pci/devices" / gpu.pci_address / "numa_node"));
    gpu.node = std::max(node.value_or(0), 0);
    gpus.push_back(std::move(gpu));
  }
  std::sort(gpus.begin(), gpus.end(),
            [](const auto& a, const auto& b) { return a.pci_address < b.pci_address; });
  return gpus;
}

/// CPUs of a node by what `key_of` says of them.
std::map<int, std::vector<int>> grouped(const std::set<int>& cpus,
                                        const std::map<int, int>& key_of) {
  std::map<int, std::vector<int>> groups;
  for (const int cpu : cpus) {
    const auto key = key_of.find(cpu);
    groups[key == key_of.end() ? cpu : key->second].push_back(cpu);
  }
  return groups;
}

/// Where the GPU stands among those of its node, and how many these are.
std::pair<size_t, size_t> place_on_node(const NumaTopology& topology, size_t gpu) {
  size_t before = 0, all = 0;
  for (size_t i = 0; i < topology.gpus.size(); ++i) {
    if (topology.gpus[i].node != topology.gpus[gpu].node) continue;
    if (i < gpu) ++before;
    ++all;
  }
  return {before, all};
}

Result<std::vector<int>> own_cores(const NumaTopology& topology, size_t gpu,
                                   const std::set<int>& node_cpus) {
  const auto cores = grouped(node_cpus, topology.core_of);
  const auto [place, sharers] = place_on_node(topology, gpu);
  const size_t each = cores.size() / sharers, more = cores.size() % sharers;
  if (each == 0)
    return fail(
        Error::Kind::kRefused,
        "NUMA node {} has {} usable physical cores for {} GPUs: none can have one of its own",
        topology.gpus[gpu].node, cores.size(), sharers);
  // The first GPUs get the cores that are left over.
  const size_t begin = place * each + std::min(place, more);
  const size_t end = begin + each + (place < more ? 1 : 0);
  std::vector<int> cpus;
  size_t index = 0;
  for (const auto& [core, members] : cores) {
    if (index >= begin && index < end) cpus.insert(cpus.end(), members.begin(), members.end());
    ++index;
  }
  std::sort(cpus.begin(), cpus.end());
  return cpus;
}

std::vector<int> one_cache(const NumaTopology& topology, size_t gpu,
                           const std::set<int>& node_cpus) {
  const auto groups = grouped(node_cpus, topology.cache_of);
  std::vector<std::vector<int>> caches;
  for (const auto& [first, members] : groups) caches.push_back(members);
  // Caches with more usable CPUs first.
  std::stable_sort(caches.begin(), caches.end(),
                   [](const auto& a, const auto& b) { return a.size() > b.size(); });
  return caches[place_on_node(topology, gpu).first % caches.size()];
}

std::vector<int> whole_socket(const NumaTopology& topology, const std::set<int>& node_cpus) {
  const auto socket_of = [&](int cpu) {
    const auto found = topology.socket_of.find(cpu);
    return found == topology.socket_of.end() ? 0 : found->second;
  };
  const int socket = socket_of(*node_cpus.begin());
  std::vector<int> cpus;
  for (const auto& [node, members] : topology.nodes)
    if (socket_of(*members.begin()) == socket)
      cpus.insert(cpus.end(), members.begin(), members.end());
  std::sort(cpus.begin(), cpus.end());
  return cpus;
}

}  // namespace

std::set<int> parse_number_ranges(std::string_view text) {
  std::set<int> numbers;
  while (!text.empty()) {
    const size_t comma = text.find(',');
    const std::string_view part = text.substr(0, comma);
    const size_t dash = part.find('-');
    const auto first = number(part.substr(0, dash));
    const auto last = dash == part.npos ? first : number(part.substr(dash + 1));
    constexpr int kMost = 1 << 16;
    if (first && last && *first >= 0 && *last < kMost)
      for (int i = *first; i <= *last; ++i) numbers.insert(i);
    text.remove_prefix(comma == text.npos ? text.size() : comma + 1);
  }
  return numbers;
}

NumaTopology read_numa_topology(const fs::path& root, const std::set<int>& usable) {
  NumaTopology topology;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(root / "sys/devices/system/node", error)) {
    const auto node = number_behind("node", entry.path().filename().string());
    if (!node) continue;
    for (const int cpu : parse_number_ranges(first_line(entry.path() / "cpulist")))
      if (usable.contains(cpu)) topology.nodes[*node].insert(cpu);
  }
  for (const int cpu : usable) {
    const fs::path folder = root / "sys/devices/system/cpu" / fmt::format("cpu{}", cpu);
    if (const auto socket = number(first_line(folder / "topology/physical_package_id")))
      topology.socket_of[cpu] = *socket;
    const auto core = parse_number_ranges(first_line(folder / "topology/thread_siblings_list"));
    if (!core.empty()) topology.core_of[cpu] = *core.begin();
    const auto sharing = sharing_last_cache(folder);
    if (!sharing.empty()) topology.cache_of[cpu] = *sharing.begin();
  }
  topology.gpus = read_gpus(root);
  return topology;
}

std::set<int> usable_cpus() {
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  std::set<int> usable;
  if (::sched_getaffinity(0, sizeof cpus, &cpus) != 0) return usable;
  for (size_t cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(cpu, &cpus)) usable.insert(static_cast<int>(cpu));
  return usable;
}

std::optional<NumaBinding> parse_numa_binding(std::string_view word) {
  if (word == "node") return NumaBinding::kNode;
  if (word == "socket") return NumaBinding::kSocket;
  if (word == "exclusive") return NumaBinding::kExclusive;
  if (word == "core-complex") return NumaBinding::kCoreComplex;
  return std::nullopt;
}

Result<std::vector<int>> cpus_near_gpu(NumaBinding binding, const NumaTopology& topology,
                                       size_t gpu) {
  if (gpu >= topology.gpus.size())
    return fail(Error::Kind::kRefused, "there is no GPU {} on this machine (it has {})", gpu,
                topology.gpus.size());
  const auto node = topology.nodes.find(topology.gpus[gpu].node);
  if (node == topology.nodes.end())
    return fail(Error::Kind::kRefused,
                "GPU {} ({}) is on NUMA node {}, of which this process may use no CPU", gpu,
                topology.gpus[gpu].pci_address, topology.gpus[gpu].node);
  const std::set<int>& cpus = node->second;
  switch (binding) {
    case NumaBinding::kNode:
      return std::vector<int>(cpus.begin(), cpus.end());
    case NumaBinding::kSocket:
      return whole_socket(topology, cpus);
    case NumaBinding::kExclusive:
      return own_cores(topology, gpu, cpus);
    case NumaBinding::kCoreComplex:
      return one_cache(topology, gpu, cpus);
  }
  return fail(Error::Kind::kRefused, "unknown NUMA binding");
}

Result<size_t> gpu_of_device(const NumaTopology& topology,
                             const std::optional<std::string>& cuda_visible_devices, int device) {
  const auto none = [&] {
    return fail(Error::Kind::kRefused, "there is no GPU for device {}: this machine has {}{}",
                device, topology.gpus.size(),
                cuda_visible_devices
                    ? fmt::format(", CUDA_VISIBLE_DEVICES={}", *cuda_visible_devices)
                    : "");
  };
  if (!cuda_visible_devices) {
    if (static_cast<size_t>(device) >= topology.gpus.size()) return none();
    return static_cast<size_t>(device);
  }
  std::string_view rest = *cuda_visible_devices;
  for (int index = 0; !rest.empty(); ++index) {
    const size_t comma = rest.find(',');
    std::string_view name = rest.substr(0, comma);
    while (name.starts_with(' ')) name.remove_prefix(1);
    while (name.ends_with(' ')) name.remove_suffix(1);
    if (index == device) {
      for (size_t gpu = 0; gpu < topology.gpus.size(); ++gpu)
        if (name.starts_with("GPU-") ? topology.gpus[gpu].uuid.starts_with(name)
                                     : number(name) == static_cast<int>(gpu))
          return gpu;
      return none();
    }
    rest.remove_prefix(comma == rest.npos ? rest.size() : comma + 1);
  }
  return none();
}

}  // namespace megalaunch
