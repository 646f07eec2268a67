#include "env/numa.h"

#include <gmock/gmock.h>

#include "tests/lib/temp_dir.h"

namespace megalaunch {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

/// Two sockets of two nodes of four CPUs: CPU n and n + 8 are threads of one core; two cores share
/// a cache.
void build_machine(const TempDir& dir) {
  for (int node = 0; node < 2; ++node)
    dir.write(fmt::format("sys/devices/system/node/node{}/cpulist", node),
              fmt::format("{}-{},{}-{}\n", node * 4, node * 4 + 3, node * 4 + 8, node * 4 + 11));
  for (int cpu = 0; cpu < 16; ++cpu) {
    const std::string folder = fmt::format("sys/devices/system/cpu/cpu{}/", cpu);
    const int core = cpu % 8, cache = core / 2 * 2;
    dir.write(folder + "topology/physical_package_id", fmt::format("{}\n", core / 4));
    dir.write(folder + "topology/thread_siblings_list", fmt::format("{},{}\n", core, core + 8));
    for (const auto& [index, type, level, list] :
         {std::tuple{0, "Data", 1, fmt::format("{},{}", core, core + 8)},
          std::tuple{1, "Instruction", 4, std::string("0")},
          std::tuple{2, "Unified", 3,
                     fmt::format("{}-{},{}-{}", cache, cache + 1, cache + 8, cache + 9)}}) {
      const std::string at = fmt::format("{}cache/index{}/", folder, index);
      dir.write(at + "type", std::string(type) + "\n");
      dir.write(at + "level", fmt::format("{}\n", level));
      dir.write(at + "shared_cpu_list", list + "\n");
    }
  }
  for (const auto& [address, node, uuid] :
       {std::tuple{"0000:81:00.0", 1, "GPU-cc"}, std::tuple{"0000:19:00.0", 0, "GPU-aa"},
        std::tuple{"0000:1a:00.0", 0, "GPU-bb"}, std::tuple{"0000:90:00.0", -1, "GPU-dd"}}) {
    dir.write(fmt::format("proc/driver/nvidia/gpus/{}/information", address),
              fmt::format("Model: \t X\nGPU UUID: \t {}\n", uuid));
    dir.write(fmt::format("sys/bus/pci/devices/{}/numa_node", address), fmt::format("{}\n", node));
  }
}

std::set<int> all_cpus() {
  return parse_number_ranges("0-15");
}

TEST(Numa, ReadsNodesCoresCachesAndGpusInPciOrder) {
  const TempDir dir;
  build_machine(dir);
  const NumaTopology topology = read_numa_topology(dir.path(), all_cpus());
  EXPECT_THAT(topology.nodes.at(1), ElementsAre(4, 5, 6, 7, 12, 13, 14, 15));
  EXPECT_EQ(topology.core_of.at(13), 5);
  EXPECT_EQ(topology.cache_of.at(13), 4);
  ASSERT_EQ(topology.gpus.size(), 4U);
  EXPECT_EQ(topology.gpus[0].pci_address, "0000:19:00.0");
  EXPECT_EQ(topology.gpus[2].node, 1);
  EXPECT_EQ(topology.gpus[3].node, 0);
}

TEST(Numa, NodeAndSocketGiveTheCpusNearTheGpu) {
  const TempDir dir;
  build_machine(dir);
  const NumaTopology topology = read_numa_topology(dir.path(), all_cpus());
  EXPECT_THAT(cpus_near_gpu(NumaBinding::kNode, topology, 2).value(),
              ElementsAre(4, 5, 6, 7, 12, 13, 14, 15));
  EXPECT_THAT(cpus_near_gpu(NumaBinding::kSocket, topology, 0).value(),
              ElementsAre(0, 1, 2, 3, 8, 9, 10, 11));
}

TEST(Numa, ExclusiveSharesThePhysicalCoresOutAndTheFirstGpusGetTheRest) {
  const TempDir dir;
  build_machine(dir);
  const NumaTopology topology = read_numa_topology(dir.path(), all_cpus());
  EXPECT_THAT(cpus_near_gpu(NumaBinding::kExclusive, topology, 0).value(), ElementsAre(0, 1, 8, 9));
  EXPECT_THAT(cpus_near_gpu(NumaBinding::kExclusive, topology, 1).value(), ElementsAre(2, 10));
  EXPECT_THAT(cpus_near_gpu(NumaBinding::kExclusive, topology, 3).value(), ElementsAre(3, 11));
  EXPECT_EQ(cpus_near_gpu(NumaBinding::kExclusive, topology, 2).value().size(), 8U);
}

TEST(Numa, CoreComplexGivesOneCacheToEachGpu) {
  const TempDir dir;
  build_machine(dir);
  const NumaTopology topology = read_numa_topology(dir.path(), all_cpus());
  EXPECT_THAT(cpus_near_gpu(NumaBinding::kCoreComplex, topology, 0).value(),
              ElementsAre(0, 1, 8, 9));
  EXPECT_THAT(cpus_near_gpu(NumaBinding::kCoreComplex, topology, 1).value(),
              ElementsAre(2, 3, 10, 11));
  EXPECT_THAT(cpus_near_gpu(NumaBinding::kCoreComplex, topology, 3).value(),
              ElementsAre(0, 1, 8, 9));
}

TEST(Numa, OnlyCpusThatTheProcessMayUseCount) {
  const TempDir dir;
  build_machine(dir);
  const NumaTopology topology = read_numa_topology(dir.path(), {0, 1, 9});
  EXPECT_THAT(cpus_near_gpu(NumaBinding::kNode, topology, 0).value(), ElementsAre(0, 1, 9));
  EXPECT_THAT(cpus_near_gpu(NumaBinding::kNode, topology, 2).error().message,
              HasSubstr("of which this process may use no CPU"));
  EXPECT_THAT(cpus_near_gpu(NumaBinding::kExclusive, topology, 0).error().message,
              HasSubstr("2 usable physical cores for 3 GPUs"));
}

TEST(Numa, DevicesAreCountedAsCudaCountsThem) {
  const TempDir dir;
  build_machine(dir);
  const NumaTopology topology = read_numa_topology(dir.path(), all_cpus());
  EXPECT_EQ(gpu_of_device(topology, std::nullopt, 3), 3U);
  EXPECT_EQ(gpu_of_device(topology, "2, 0", 1), 0U);
  EXPECT_EQ(gpu_of_device(topology, "GPU-cc,GPU-aa", 0), 2U);
  EXPECT_THAT(gpu_of_device(topology, "2", 1).error().message, HasSubstr("CUDA_VISIBLE_DEVICES=2"));
  EXPECT_FALSE(gpu_of_device(topology, std::nullopt, 4));
  EXPECT_FALSE(cpus_near_gpu(NumaBinding::kNode, NumaTopology(), 0));
}

TEST(Numa, RangesAreReadAsSysfsWritesThem) {
  EXPECT_THAT(parse_number_ranges("0-2,5,7-8\n"), ElementsAre(0, 1, 2, 5, 7, 8));
  EXPECT_THAT(parse_number_ranges("x,,3-,4"), ElementsAre(4));
}

}  // namespace
}  // namespace megalaunch
