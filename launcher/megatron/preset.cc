#include "launcher/megatron/preset.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include "env/embedded.h"
#include "launcher/job/section.h"

namespace megalaunch {

extern const EmbeddedFile kModelPresets[];
extern const std::size_t kModelPresets_count;

namespace {

void read_sizes(Section& top, ModelPreset& preset) {
  const auto required = [&](std::string_view key, std::int64_t& into, int max) {
    if (auto value = top.integer(key, 1, max)) into = *value;
    if (top.node(key) == nullptr)
      top.complain(key, fmt::format("missing; a preset of this family gives '{}'", key));
  };
  required("layers", preset.layers, 1 << 14);
  required("hidden", preset.hidden, 1 << 20);
  required("heads", preset.heads, 1 << 20);
  required("ffn", preset.ffn, 1 << 22);
  required("query_groups", preset.query_groups, 1 << 20);
  required("max_positions", preset.max_positions, 1 << 30);
  required("vocabulary", preset.vocabulary, 1 << 24);
  required("rope_base", preset.rope_base, 1 << 30);
  if (auto extra = top.integer("extra_vocabulary", 0)) preset.extra_vocabulary = *extra;
  preset.tokenizer_type =
      top.text("tokenizer_type")
          .value_or(preset.family == ModelFamily::kLlama ? "LLama3Tokenizer" : "Qwen2Tokenizer");
  preset.norm_epsilon = top.text("norm_epsilon").value_or("1e-5");
}

std::string first_complaint(const std::vector<Complaint>& complaints) {
  const Complaint& first = complaints.front();
  return fmt::format("{}:{}:{}: {}{}{}", first.place.source, first.place.line, first.place.column,
                     first.key, first.key.empty() ? "" : ": ", first.message);
}

}  // namespace

std::int64_t ModelPreset::parameters() const {
  if (layers == 0 || heads == 0) return 0;
  const std::int64_t key_value = hidden / heads * query_groups;
  const std::int64_t attention = 2 * hidden * hidden + 2 * hidden * key_value;
  const std::int64_t bias = qkv_bias ? hidden + 2 * key_value : 0;
  const std::int64_t layer = attention + 3 * hidden * ffn + 2 * hidden + bias;
  return layers * layer + hidden + vocabulary * hidden * (untied_embeddings ? 2 : 1);
}

Result<ModelPreset> parse_preset(const std::string& text, const std::string& source) {
  const Document document = parse_yaml(text, source);
  std::vector<Complaint> complaints = document.complaints;
  Section top(document.root, "", complaints);
  ModelPreset preset;
  if (auto name = top.text("name")) preset.name = *name;
  if (top.node("name") == nullptr) top.complain("name", "missing; a preset has a name");
  constexpr ModelFamily kFamilies[] = {ModelFamily::kLlama, ModelFamily::kQwen, ModelFamily::kGpt};
  if (auto family = top.choice("family", {"llama3.1", "qwen2.5", "gpt"}))
    preset.family = kFamilies[*family];
  if (top.node("family") == nullptr)
    top.complain("family", "missing; one of llama3.1, qwen2.5, gpt");
  if (auto size = top.text("size")) preset.size = *size;
  if (auto untied = top.boolean("untied_embeddings")) preset.untied_embeddings = *untied;
  if (auto bias = top.boolean("qkv_bias")) preset.qkv_bias = *bias;
  if (preset.family != ModelFamily::kGpt) read_sizes(top, preset);
  top.finish();
  if (!complaints.empty()) return fail(Error::Kind::kUsage, "{}", first_complaint(complaints));
  return preset;
}

const std::vector<ModelPreset>& built_in_presets() {
  static const std::vector<ModelPreset> presets = [] {
    std::vector<ModelPreset> all;
    for (std::size_t i = 0; i < kModelPresets_count; ++i) {
      auto preset =
          parse_preset(std::string(kModelPresets[i].text), std::string(kModelPresets[i].name));
      if (!preset) throw std::logic_error("a built-in preset is broken: " + preset.error().message);
      all.push_back(std::move(*preset));
    }
    std::sort(all.begin(), all.end(), [](const ModelPreset& a, const ModelPreset& b) {
      return std::pair(a.family, a.parameters()) < std::pair(b.family, b.parameters());
    });
    return all;
  }();
  return presets;
}

Result<ModelPreset> find_preset(const std::string& name, const std::filesystem::path& base) {
  const bool is_path =
      name.find('/') != std::string::npos || name.ends_with(".yaml") || name.ends_with(".yml");
  if (is_path) {
    const auto path = base / name;
    std::ifstream file(path, std::ios::binary);
    if (!file)
      return fail(Error::Kind::kUsage, "cannot read the model preset {}: {}", path.string(),
                  errno_text(errno));
    const std::string text((std::istreambuf_iterator<char>(file)),
                           std::istreambuf_iterator<char>());
    return parse_preset(text, path.string());
  }
  std::vector<std::string> names;
  for (const ModelPreset& preset : built_in_presets()) {
    if (preset.name == name) return preset;
    names.push_back(preset.name);
  }
  return fail(Error::Kind::kUsage,
              "model '{}' is not known; there are {}, or the path of a preset of your own (.yaml)",
              name, fmt::join(names, ", "));
}

}  // namespace megalaunch
