#include "launcher/megatron/model_size.h"

#include <algorithm>
#include <vector>

#include "env/ascii.h"
#include "launcher/megatron/preset.h"

namespace megalaunch {
namespace {

/// The presets that have sizes, named as tables do: with the size as a script spells it.
const std::vector<KnownModel>& known_models() {
  static const std::vector<KnownModel> models = [] {
    std::vector<KnownModel> all;
    for (const ModelPreset& preset : built_in_presets()) {
      if (preset.layers == 0) continue;
      const std::string family = preset.name.substr(0, preset.name.rfind('-') + 1);
      all.push_back({family + preset.size, size_of(preset)});
    }
    return all;
  }();
  return models;
}

/// "llama3-1-8B", "llama3.1-8b" and "Llama3_1-8B" are one name.
std::string plain(std::string_view name) {
  std::string text;
  for (const char c : name) {
    if (c == '-' || c == '_' || c == '.') continue;
    text += ascii_lower(c);
  }
  return text;
}

}  // namespace

ModelSize size_of(const ModelPreset& preset) {
  return {preset.layers, preset.hidden,       preset.ffn,
          preset.heads,  preset.query_groups, preset.vocabulary};
}

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
      known_models(), [&](const KnownModel& m) { return plain(m.name) == wanted; });
  return found == known_models().end() ? nullptr : &*found;
}

const KnownModel* find_known_model(const ModelSize& size) {
  const auto found = std::ranges::find_if(known_models(), [&](const KnownModel& m) {
    ModelSize same_vocabulary = size;
    same_vocabulary.vocabulary = m.size.vocabulary;
    return same_vocabulary == m.size;
  });
  return found == known_models().end() ? nullptr : &*found;
}

}  // namespace megalaunch
