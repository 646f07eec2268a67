#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace megalaunch {

struct ModelPreset;

/// The sizes of a dense transformer that decide how many floating-point operations an iteration
/// takes.
struct ModelSize {
  std::int64_t layers = 0;
  std::int64_t hidden = 0;
  std::int64_t ffn = 0;
  std::int64_t heads = 0;
  std::int64_t query_groups = 0;
  std::int64_t vocabulary = 0;  ///< padded
  bool gated = true;            ///< SwiGLU: three matrices in the feed-forward part, not two

  bool operator==(const ModelSize&) const = default;
  /// Whether every size is there, so that the functions below mean something.
  bool complete() const;
  /// Parameters of the matrices, in and out embeddings counted once each.
  double parameters() const;
};

ModelSize size_of(const ModelPreset& preset);

/// How a version of the training program counts the attention: Megatron-Core up to 0.11 the full
/// square, from 0.12 on the half that a causal mask leaves.
enum class AttentionFlops { kSquare, kCausal };

/// Floating-point operations of one iteration as Megatron-LM logs them; recomputation is not
/// counted. `size.complete()`.
double flops_per_iteration(const ModelSize& size, std::int64_t global_batch,
                           std::int64_t sequence_length,
                           AttentionFlops attention = AttentionFlops::kSquare);

/// A model that is known by name.
struct KnownModel {
  std::string name;  ///< as tables write it: "llama3.1-8B"
  ModelSize size;
};

/// The built-in preset of this name: as a preset ("llama3.1-8b"), a table ("qwen2.5-14B") or a run
/// name ("llama3-1-70B") spells it. Null when unknown. The result lives as long as the program.
const KnownModel* find_known_model(std::string_view name);
/// The same by sizes, for logs that print sizes and no name; the vocabulary need not match.
const KnownModel* find_known_model(const ModelSize& size);

}  // namespace megalaunch
