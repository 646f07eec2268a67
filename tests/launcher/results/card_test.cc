#include "launcher/results/card.h"

#include <gtest/gtest.h>

namespace megalaunch {
namespace {

TEST(Card, IsFoundByTheDriversName) {
  EXPECT_EQ(find_card("NVIDIA H100 80GB HBM3")->name, "H100");
  EXPECT_EQ(find_card("NVIDIA H100 PCIe")->name, "H100 PCIe");
  EXPECT_EQ(find_card("NVIDIA A100-SXM4-80GB")->name, "A100");
  EXPECT_EQ(find_card("NVIDIA H200")->name, "H200");
  EXPECT_EQ(find_card("h20")->name, "H20");
  EXPECT_EQ(find_card("NVIDIA GB200")->name, "GB200");
  EXPECT_EQ(find_card("NVIDIA B200")->name, "B200");
  EXPECT_EQ(find_card("NVIDIA GeForce GTX 1080"), nullptr);
  EXPECT_EQ(find_card(""), nullptr);
}

TEST(Card, PeakDependsOnThePrecision) {
  EXPECT_EQ(default_card().peak_tflops("bf16"), 989.4);
  EXPECT_EQ(default_card().peak_tflops("fp16"), 989.4);
  EXPECT_EQ(default_card().peak_tflops("fp8"), 1978.9);
  EXPECT_EQ(default_card().peak_tflops("fp32"), std::nullopt);
  EXPECT_EQ(find_card("A100")->peak_tflops("fp8"), std::nullopt);
}

}  // namespace
}  // namespace megalaunch
