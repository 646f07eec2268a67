#include "launcher/results/nvml_monitor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/lib/fake_gpu_monitor.h"

namespace megalaunch {
namespace {

using testing::HasSubstr;

/// What FAKE_NVML says while a test runs.
class FakeNvml : public testing::Test {
 protected:
  ~FakeNvml() override { ::unsetenv("FAKE_NVML"); }
  static void let_fail(const char* what) { ::setenv("FAKE_NVML", what, 1); }
  const std::vector<std::string> library_{"libnvidia-ml-that-is-missing.so.1", FAKE_NVML_LIBRARY};
};

TEST_F(FakeNvml, GivesWhatEachGpuCanSay) {
  auto monitor = open_nvml(library_);
  ASSERT_TRUE(monitor) << monitor.error().message;
  const auto samples = (*monitor)->sample();
  ASSERT_EQ(samples.size(), 2u);
  EXPECT_EQ(samples[0],
            (GpuSample{0, 67710.0, 98, 61, 655.25, 5, 0, std::nullopt, "NVIDIA H100 80GB HBM3"}));
  EXPECT_EQ(samples[1],
            (GpuSample{1, 12.0, 0, 30, std::nullopt, std::nullopt, 1, 79, "NVIDIA H20"}));
}

TEST_F(FakeNvml, CountsXidEventsOverTime) {
  auto monitor = open_nvml(library_);
  ASSERT_TRUE(monitor);
  std::int64_t before = 0;
  for (int round = 0; round < 4; ++round) {
    const auto xids = (*monitor)->sample()[1].xid_errors;
    EXPECT_GE(xids, before);
    before = xids;
  }
  EXPECT_GE(before, 2);
}

TEST_F(FakeNvml, NamesTheProcessesThatHoldAGpu) {
  auto monitor = open_nvml(library_);
  ASSERT_TRUE(monitor);
  EXPECT_THAT((*monitor)->holders(), testing::IsEmpty());
  ::setenv("FAKE_NVML_HOLDER", "4711", 1);
  EXPECT_THAT((*monitor)->holders(), testing::ElementsAre(GpuHolder{1, 4711}));
  ::unsetenv("FAKE_NVML_HOLDER");
}

TEST_F(FakeNvml, ADriverThatIsNotLoadedIsUnavailableWithItsReason) {
  let_fail("init");
  const auto monitor = open_nvml(library_);
  ASSERT_FALSE(monitor);
  EXPECT_EQ(monitor.error().kind, Error::Kind::kUnavailable);
  EXPECT_THAT(monitor.error().message, HasSubstr("Driver Not Loaded"));
}

TEST_F(FakeNvml, NoGpuIsUnavailable) {
  let_fail("no-gpu");
  EXPECT_EQ(open_nvml(library_).error().kind, Error::Kind::kUnavailable);
}

TEST(NvmlMonitor, AMissingLibraryIsUnavailableAndNamed) {
  const auto monitor = open_nvml({"libnvidia-ml-that-is-missing.so.1"});
  ASSERT_FALSE(monitor);
  EXPECT_EQ(monitor.error().kind, Error::Kind::kUnavailable);
  EXPECT_THAT(monitor.error().message, HasSubstr("libnvidia-ml-that-is-missing.so.1"));
}

TEST(NvmlMonitor, ALibraryWithoutNvmlIsUnavailable) {
  EXPECT_THAT(open_nvml({"libc.so.6"}).error().message, HasSubstr("nvmlInit_v2"));
}

TEST(NvmlMonitor, OpensTheRealDriverWhereThereIsOne) {
  const auto monitor = open_nvml();
  if (!monitor) GTEST_SKIP() << monitor.error().message;
  const auto samples = (*monitor)->sample();
  ASSERT_FALSE(samples.empty());
  EXPECT_FALSE(samples[0].name.empty());
  EXPECT_TRUE(samples[0].memory_mib);
}

TEST(GpuMonitor, HasAFakeForTheTestsOfOthers) {
  FakeGpuMonitor monitor({GpuSample{.gpu = 0, .memory_mib = 1.0}});
  EXPECT_EQ(monitor.sample().at(0).memory_mib, 1.0);
  EXPECT_EQ(monitor.rounds, 1);
}

}  // namespace
}  // namespace megalaunch
