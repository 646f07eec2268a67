#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "env/result.h"

namespace megalaunch {

enum class ModelFamily { kLlama, kQwen, kGpt };

/// The sizes and the fixed options of a model: one file of configs/models, or the user's own.
/// Numbers that go to the command line as they are written stay text.
struct ModelPreset {
  std::string name;
  ModelFamily family = ModelFamily::kLlama;
  std::string size;  ///< "8B", as the run name of a script spells it; empty for gpt
  std::int64_t layers = 0;
  std::int64_t hidden = 0;
  std::int64_t heads = 0;
  std::int64_t ffn = 0;
  std::int64_t query_groups = 0;  ///< equals heads without grouped queries
  std::int64_t max_positions = 0;
  std::int64_t vocabulary = 0;  ///< 0: unknown (gpt: the tokenizer says)
  std::int64_t extra_vocabulary = 0;
  std::string tokenizer_type;
  std::string norm_epsilon;
  std::int64_t rope_base = 0;
  bool untied_embeddings = true;
  bool qkv_bias = false;

  /// All parameters of the model; 0 for a gpt without sizes.
  std::int64_t parameters() const;
};

/// The presets of configs/models that are compiled in, by size within a family.
const std::vector<ModelPreset>& built_in_presets();

/// The preset that a job file names: a built-in one, or the path of a YAML file when it has a '/'
/// or ends in .yaml; relative paths start at `base`. The error lists the names that exist.
Result<ModelPreset> find_preset(const std::string& name, const std::filesystem::path& base);

/// Reads one preset. `source` names the text in errors, which hold file, line and column.
Result<ModelPreset> parse_preset(const std::string& text, const std::string& source);

}  // namespace megalaunch
