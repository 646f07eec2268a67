#include "launcher/megatron/script.h"

#include <algorithm>

namespace megalaunch {

const std::vector<ScriptVariant>& script_variants() {
  using enum ModelFamily;
  using enum ScriptVariant::VirtualStages;
  using enum MegatronSettings::Precision;
  constexpr auto kOff = MegatronSettings::Activations::kNone;
  constexpr auto kSelective = MegatronSettings::Activations::kSelective;
  static constexpr std::string_view kLlamaTokenizer = "model/Meta-Llama-3.1-8B-tokenizer/";
  static const std::vector<ScriptVariant> variants{
      {"gpt-pretrain", kGpt, false, false, kNever, "gpt", kBf16, 2, 1, 1, kOff, "none", 1, ""},
      {"llama3_1-upstream", kLlama, true, false, kQuarter, "", kBf16, 1, 1, 1, kOff, "none", 100000,
       ""},
      {"llama3_1-cluster-vpenv", kLlama, false, true, kAsSet, "llama3.1-8b", kBf16, 1, 1, 1, kOff,
       "false", 100000, kLlamaTokenizer},
      {"llama3_1-cluster-8b", kLlama, false, true, kQuarter, "llama3.1-8b", kFp8, 1, 2, 1,
       kSelective, "sel", 100000, kLlamaTokenizer},
      {"llama3_1-cluster-70b", kLlama, false, true, kQuarter, "llama3.1-70b", kFp8, 2, 2, 1, kOff,
       "false", 100000, kLlamaTokenizer},
      {"qwen2_5-upstream", kQwen, true, true, kAsSet, "", kBf16, 1, 1, 1, kOff, "none", 10000, ""},
      {"qwen2_5-cluster-14b", kQwen, false, true, kQuarter, "qwen2.5-14b", kFp8, 1, 4, 1, kOff,
       "false", 10000, "model/Qwen2.5-14B-tokenizer/"},
      {"qwen2_5-cluster-72b", kQwen, false, true, kQuarter, "qwen2.5-72b", kFp8, 4, 8, 2,
       kSelective, "sel", 10000, "model/Qwen2.5-72B-tokenizer/"},
  };
  return variants;
}

const ScriptVariant* find_script(std::string_view name) {
  const auto& all = script_variants();
  const auto found = std::find_if(all.begin(), all.end(),
                                  [&](const ScriptVariant& script) { return script.name == name; });
  return found == all.end() ? nullptr : &*found;
}

}  // namespace megalaunch
