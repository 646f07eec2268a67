#include "launcher/megatron/run_name.h"

#include <fmt/format.h>

#include <cstdint>

#include "launcher/megatron/training.h"

namespace megalaunch {
namespace {

std::string_view precision_word(MegatronSettings::Precision precision) {
  constexpr std::string_view kWords[] = {"fp16", "bf16", "fp8"};
  return kWords[static_cast<size_t>(precision)];
}

/// FNV-1a: it has to be the same on all nodes and in all versions, not to resist anyone.
class Digest {
 public:
  void add(std::string_view text) {
    for (const char c : text) mix(static_cast<unsigned char>(c));
    mix(0);
  }
  std::string text() const {
    return fmt::format("{:08x}", static_cast<std::uint32_t>(state_ ^ (state_ >> 32)));
  }

 private:
  void mix(unsigned char byte) { state_ = (state_ ^ byte) * 1099511628211u; }
  std::uint64_t state_ = 14695981039346656037u;
};

}  // namespace

std::string script_run_name(const Training& t) {
  const bool finetune = t.mode == MegatronSettings::Mode::kFinetune;
  return fmt::format(
      "{}-mcore-{}-{}-lr-{}-minlr-{}-bs-{}-gbs-{}-seqlen-{}-pr-{}-tp-{}-pp-{}-cp-{}-ac-{}-do-{}-sp-"
      "{}-ti-{}-wi-{}",
      finetune ? "finetune" : "pretrain",
      t.model.family == ModelFamily::kLlama ? "llama3-1" : "qwen2.5", t.model.size, t.lr.text,
      t.min_lr.text, t.micro.text, t.global.text, t.sequence_length.text,
      precision_word(t.precision), t.tp.text, t.pp.text, t.cp.text, t.activations_word,
      t.distributed, t.sequence, t.iterations, t.warmup_iterations);
}

std::string own_run_name(const Training& t) {
  Digest digest;
  for (const auto& word : t.train_data.words) digest.add(word);
  digest.add("valid");
  for (const auto& word : t.valid_data.words) digest.add(word);
  digest.add(t.data_type == MegatronSettings::DataType::kRaw ? "raw" : "idxmap");
  for (const std::string& text : {t.load, t.tokenizer, t.padding_length.text}) digest.add(text);
  for (const auto& word : t.extra_args) digest.add(word);
  constexpr std::string_view kOffload[] = {"", "-oostatic", "-ooauto"};
  const bool keeps_layers = t.activations == MegatronSettings::Activations::kFull ||
                            t.activations == MegatronSettings::Activations::kOffload;
  std::string name = fmt::format(
      "{}-{}-{}-g{}-tp{}-pp{}-v{}-cp{}-mbs{}-gbs{}-seq{}-lr{}-min{}-ac{}{}{}{}{}{}{}-it{}-wi{}",
      t.mode == MegatronSettings::Mode::kFinetune ? "finetune" : "pretrain", t.model.name,
      precision_word(t.precision), t.world(), t.tp.value, t.pp.value,
      t.virtual_layers.empty() ? "0" : t.virtual_layers, t.cp.value, t.micro.value, t.global.value,
      t.sequence_length.value, t.lr.text, t.min_lr.text,
      t.activations_word == "false" ? "none" : t.activations_word,
      keeps_layers ? t.activation_layers.text : "", t.sequence && t.tp.value > 1 ? "-sp" : "",
      t.distributed ? "-do" : "", kOffload[static_cast<size_t>(t.offload)],
      t.flash_attention ? "-fa" : "", t.packing ? "-packed" : "", t.iterations,
      t.warmup_iterations);
  if (t.model.family == ModelFamily::kGpt)
    name +=
        fmt::format("-l{}h{}f{}a{}", t.model.layers, t.model.hidden, t.model.ffn, t.model.heads);
  for (char& c : name)
    if (c == '/') c = '_';
  digest.add(name);
  return name.substr(0, 230 - 9) + "-" + digest.text();
}

}  // namespace megalaunch
