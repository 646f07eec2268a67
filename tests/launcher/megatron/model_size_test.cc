#include "launcher/megatron/model_size.h"

#include <gtest/gtest.h>

namespace megalaunch {
namespace {

TEST(ModelSize, FlopsOfAnIterationAreThoseThatTheProgramLogs) {
  const auto flops = [](const char* name) {
    return flops_per_iteration(find_known_model(name)->size, 1024, 8192);
  };
  EXPECT_NEAR(flops("llama3.1-8B") / 4.858082e17, 1, 1e-6);
  EXPECT_NEAR(flops("qwen2.5-14B") / 9.068332e17, 1, 1e-6);
  EXPECT_NEAR(flops("llama3.1-70B") / 4.038568e18, 1, 1e-6);
  EXPECT_NEAR(flops("qwen2.5-72B") / 4.137049e18, 1, 1e-6);
}

TEST(ModelSize, CausalAttentionLeavesOutHalfTheSquare) {
  const ModelSize size = find_known_model("llama3.1-8B")->size;
  const double square = flops_per_iteration(size, 1, 8192, AttentionFlops::kSquare);
  const double causal = flops_per_iteration(size, 1, 8192, AttentionFlops::kCausal);
  EXPECT_DOUBLE_EQ(square - causal, 6.0 * 8192 * 32 * 4096 * 8192);
}

TEST(ModelSize, AFeedForwardWithoutGateHasTwoMatrices) {
  ModelSize size{1, 8, 32, 2, 2, 16, true};
  const double gated = flops_per_iteration(size, 1, 4);
  size.gated = false;
  EXPECT_DOUBLE_EQ(gated - flops_per_iteration(size, 1, 4), 6.0 * 4 * 8 * 32);
}

TEST(ModelSize, AModelIsKnownByEverySpelling) {
  for (const char* name : {"llama3.1-8b", "llama3.1-8B", "llama3-1-8B", "Llama3_1-8B"}) {
    ASSERT_NE(find_known_model(name), nullptr) << name;
    EXPECT_EQ(find_known_model(name)->name, "llama3.1-8B");
  }
  EXPECT_EQ(find_known_model("qwen2.5-0.5b")->name, "qwen2.5-0.5B");
  EXPECT_EQ(find_known_model("qwen2.5-5b"), nullptr);
  EXPECT_EQ(find_known_model(""), nullptr);
}

TEST(ModelSize, AModelIsKnownByItsSizesWhateverTheVocabulary) {
  ModelSize size = find_known_model("qwen2.5-72B")->size;
  size.vocabulary = 0;
  EXPECT_EQ(find_known_model(size)->name, "qwen2.5-72B");
  size.layers = 79;
  EXPECT_EQ(find_known_model(size), nullptr);
}

TEST(ModelSize, ParametersAreAboutWhatTheNameSays) {
  EXPECT_NEAR(find_known_model("llama3.1-8B")->size.parameters(), 8.03e9, 0.01e9);
  EXPECT_NEAR(find_known_model("qwen2.5-72B")->size.parameters(), 72.7e9, 0.1e9);
}

}  // namespace
}  // namespace megalaunch
