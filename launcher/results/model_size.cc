#include "launcher/results/model_size.h"

#include <algorithm>
#include <array>

namespace megalaunch {
namespace {

constexpr std::int64_t kLlamaVocabulary = 128256;
constexpr std::int64_t kQwenSmallVocabulary = 151936;
constexpr std::int64_t kQwenVocabulary = 152064;

constexpr std::array kKnownModels{
    KnownModel{"llama3.1-8B", {32, 4096, 14336, 32, 8, kLlamaVocabulary}},
    KnownModel{"llama3.1-70B", {80, 8192, 28672, 64, 8, kLlamaVocabulary}},
    KnownModel{"qwen2.5-0.5B", {24, 896, 4864, 14, 2, kQwenSmallVocabulary}},
    KnownModel{"qwen2.5-1.5B", {28, 1536, 8960, 12, 2, kQwenSmallVocabulary}},
    KnownModel{"qwen2.5-3B", {36, 2048, 11008, 16, 2, kQwenSmallVocabulary}},
    KnownModel{"qwen2.5-7B", {28, 3584, 18944, 28, 4, kQwenVocabulary}},
    KnownModel{"qwen2.5-14B", {48, 5120, 13824, 40, 8, kQwenVocabulary}},
    KnownModel{"qwen2.5-32B", {64, 5120, 27648, 40, 8, kQwenVocabulary}},
    KnownModel{"qwen2.5-72B", {80, 8192, 29568, 64, 8, kQwenVocabulary}},
};

/// "llama3-1-8B", "llama3.1-8b" and "Llama3_1-8B" are one name.
std::string plain(std::string_view name) {
  std::string text;
  for (const char c : name) {
    if (c == '-' || c == '_' || c == '.') continue;
    text += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  return text;
}

}  // namespace

bool ModelSize::complete() const {
  return std::min({layers, hidden, ffn, heads, query_groups, vocabulary}) > 0;
}

double ModelSize::parameters() const {
  const auto h = static_cast<double>(hidden);
  const double attention =
      2 * h * h * (1 + static_cast<double>(query_groups) / static_cast<double>(heads));
  const double feed_forward = (gated ? 3 : 2) * h * static_cast<double>(ffn);
  return static_cast<double>(layers) * (attention + feed_forward) +
         2 * h * static_cast<double>(vocabulary);
}

double flops_per_iteration(const ModelSize& size, std::int64_t global_batch,
                           std::int64_t sequence_length, AttentionFlops attention) {
  const auto h = static_cast<double>(size.hidden);
  const auto s = static_cast<double>(sequence_length);
  const double groups = static_cast<double>(size.query_groups) / static_cast<double>(size.heads);
  const double square = attention == AttentionFlops::kSquare ? 2 * h * s : h * s;
  const double layer = 2 * h * h + 2 * h * h * groups +
                       (size.gated ? 3 : 2) * h * static_cast<double>(size.ffn) + square;
  const double logits = static_cast<double>(size.vocabulary) * h;
  return 6 * static_cast<double>(global_batch) * s *
         (static_cast<double>(size.layers) * layer + logits);
}

const KnownModel* find_known_model(std::string_view name) {
  const std::string wanted = plain(name);
  const auto found = std::ranges::find_if(
      kKnownModels, [&](const KnownModel& m) { return plain(m.name) == wanted; });
  return found == kKnownModels.end() ? nullptr : &*found;
}

const KnownModel* find_known_model(const ModelSize& size) {
  const auto found = std::ranges::find_if(kKnownModels, [&](const KnownModel& m) {
    ModelSize same_vocabulary = size;
    same_vocabulary.vocabulary = m.size.vocabulary;
    return same_vocabulary == m.size;
  });
  return found == kKnownModels.end() ? nullptr : &*found;
}

}  // namespace megalaunch
