#include "launcher/megatron/arguments.h"

#include <algorithm>
#include <initializer_list>
#include <optional>

#include "launcher/megatron/gpt_arguments.h"

namespace megalaunch {
namespace {

using Settings = MegatronSettings;

/// A vector of arguments that is easy to append to.
class Arguments {
 public:
  Arguments& operator()(std::initializer_list<std::string> words) {
    words_.insert(words_.end(), words);
    return *this;
  }
  Arguments& operator()(const std::vector<std::string>& words) {
    words_.insert(words_.end(), words.begin(), words.end());
    return *this;
  }
  Arguments& when(bool condition, std::initializer_list<std::string> words) {
    return condition ? (*this)(words) : *this;
  }
  std::vector<std::string> take() { return std::move(words_); }

 private:
  std::vector<std::string> words_;
};

class PatchArguments {
 public:
  PatchArguments(const Training& training, const std::optional<ResumeFrom>& resume)
      : t_(training), resume_(resume) {}

  std::vector<std::string> build() {
    fixed_block();
    dataset();
    precision();
    load();
    args_({"--transformer-impl", "transformer_engine"});
    activations();
    args_.when(t_.distributed, {"--use-distributed-optimizer"});
    args_.when(t_.sequence && has_tp(), {"--sequence-parallel"});
    args_({"--group-query-attention", "--num-query-groups", std::to_string(t_.model.query_groups)});
    optimizer_offload();
    overlap();
    mode();
    args_.when(is_qwen() && t_.model.untied_embeddings, {"--untie-embeddings-and-output-weights"});
    args_.when(!t_.virtual_layers.empty(),
               {"--num-layers-per-virtual-pipeline-stage", t_.virtual_layers});
    args_.when(t_.packing, {"--reset-position-ids", "--no-create-attention-mask-in-dataloader"});
    return args_.take();
  }

 private:
  bool is_qwen() const { return t_.model.family == ModelFamily::kQwen; }
  bool has_tp() const { return t_.tp.value > 1; }
  /// A script that was not told to resume neither saves nor loads the optimizer.
  bool keeps_optimizer() const { return t_.script == nullptr || t_.resume; }

  void fixed_block() {
    const ModelPreset& m = t_.model;
    args_({"--save",
           t_.checkpoint_dir,
           "--lr",
           t_.lr.text,
           "--min-lr",
           t_.min_lr.text,
           "--lr-decay-style",
           "cosine",
           "--weight-decay",
           "0.1",
           "--adam-beta1",
           "0.9",
           "--adam-beta2",
           "0.95",
           "--clip-grad",
           "1.0",
           "--init-method-std",
           "0.008",
           "--attention-dropout",
           "0.0",
           "--hidden-dropout",
           "0.0"});
    args_({"--lr-decay-iters", t_.decay_iterations, "--lr-warmup-iters", t_.warmup_iterations,
           "--train-iters", t_.iterations});
    args_({"--micro-batch-size", t_.micro.text, "--global-batch-size", t_.global.text});
    args_({"--num-layers", std::to_string(m.layers), "--hidden-size", std::to_string(m.hidden),
           "--num-attention-heads", std::to_string(m.heads), "--ffn-hidden-size",
           std::to_string(m.ffn), "--seq-length", t_.sequence_length.text,
           "--max-position-embeddings", std::to_string(m.max_positions), "--max-padding-length",
           t_.padding_length.text});
    args_({"--log-interval", "1", "--log-throughput", "--eval-interval", "10000", "--eval-iters",
           "10", "--save-interval", t_.save_interval.text, "--tensorboard-queue-size", "1",
           "--tensorboard-dir", t_.tensorboard_dir, "--log-timers-to-tensorboard"});
    // Releases of 2026 do not know the first of these.
    args_.when(t_.script != nullptr, {"--log-batch-size-to-tensorboard"});
    args_({"--log-validation-ppl-to-tensorboard"});
    args_({"--tensor-model-parallel-size", t_.tp.text, "--pipeline-model-parallel-size", t_.pp.text,
           "--context-parallel-size", t_.cp.text});
    const bool load_optimizer = resume_ && resume_->optimizer && keeps_optimizer();
    args_.when(!load_optimizer, {"--no-load-optim", "--no-load-rng"});
    args_({"--num-workers", "8", "--extra-vocab-size", std::to_string(m.extra_vocabulary),
           "--patch-tokenizer-type", m.tokenizer_type, "--swiglu", "--normalization", "RMSNorm",
           "--norm-epsilon", m.norm_epsilon, "--use-rotary-position-embeddings",
           "--position-embedding-type", "rope"});
    if (is_qwen()) {
      args_({"--disable-bias-linear"});
      args_.when(m.qkv_bias, {"--add-qkv-bias"});
      args_({"--rotary-percent", "1.0", "--rotary-base", std::to_string(m.rope_base),
             "--rotary-seq-len-interpolation-factor", "1"});
    } else {
      args_.when(m.untied_embeddings, {"--untie-embeddings-and-output-weights"});
      args_({"--disable-bias-linear"});
      args_.when(m.qkv_bias, {"--add-qkv-bias"});
      args_({"--rotary-base", std::to_string(m.rope_base)});
    }
    args_.when(!keeps_optimizer(), {"--no-save-optim"});
  }

  void dataset() {
    if (t_.data_type == Settings::DataType::kRaw) {
      args_({"--train-data-path"})(t_.train_data.words)({"--valid-data-path"})(t_.valid_data.words);
      args_({"--dataloader-type", "cyclic", "--dataset", "LLama-SFT-Raw"});
    } else {
      args_({"--data-path"})(t_.train_data.words);
      args_({"--split", "99,1,0", "--dataset", "LLama-Pretrain-Idxmap"});
    }
  }

  void precision() {
    switch (t_.precision) {
      case Settings::Precision::kFp16:
        args_({"--fp16", "--apply-query-key-layer-scaling"});
        break;
      case Settings::Precision::kBf16:
        args_({"--bf16"});
        break;
      case Settings::Precision::kFp8:
        args_({"--bf16", "--fp8-format", "hybrid", "--fp8-amax-compute-algo", "max",
               "--fp8-amax-history-len", "1024"});
        break;
    }
  }

  void load() {
    const std::string& from = resume_ ? t_.checkpoint_dir : t_.load;
    args_.when(!from.empty(), {"--load", from});
  }

  void activations() {
    switch (t_.activations) {
      case Settings::Activations::kNone:
        break;
      case Settings::Activations::kSelective:
        args_({"--recompute-activations"});
        break;
      case Settings::Activations::kFull:
        args_({"--recompute-method", "uniform", "--recompute-num-layers", t_.activation_layers.text,
               "--recompute-granularity", "full"});
        break;
      case Settings::Activations::kOffload:
        args_({"--cpu-offloading", "--cpu-offloading-num-layers", t_.activation_layers.text});
        break;
    }
  }

  void optimizer_offload() {
    if (t_.offload == Settings::Offload::kStatic)
      args_({"--optimizer", "hybridadam", "--optimizer-offload-policy", "static",
             "--optimizer-offload-fraction", "1.0"});
    if (t_.offload == Settings::Offload::kAuto)
      args_({"--optimizer", "hybridadam", "--optimizer-offload-policy", "auto"});
  }

  /// The scripts pass the overlaps whatever the rest says; own mode only where the program accepts
  /// them.
  void overlap() {
    const bool script = t_.script != nullptr;
    const bool offload = t_.activations == Settings::Activations::kOffload;
    args_.when(has_tp() && (script || t_.sequence), {"--tp-comm-overlap"});
    args_.when(!offload, {"--overlap-grad-reduce"});
    args_.when(!offload && (script || t_.distributed), {"--overlap-param-gather"});
  }

  void mode() {
    const bool finetune = t_.mode == Settings::Mode::kFinetune;
    args_.when(finetune, {"--eod-mask-loss"});
    args_({"--train-mode", finetune ? "finetune" : "pretrain"});
  }

  const Training& t_;
  const std::optional<ResumeFrom>& resume_;
  Arguments args_;
};

/// An option with its values: "--split 99,1,0"; "--a=b" is the same as "--a b".
struct Option {
  std::string name;
  std::string values;

  std::string text() const { return values.empty() ? name : name + " " + values; }
};

std::vector<Option> options_of(const std::vector<std::string>& words) {
  std::vector<Option> options;
  for (const std::string& word : words) {
    if (word.starts_with("--")) {
      const size_t equals = word.find('=');
      options.push_back(
          {word.substr(0, equals), equals == std::string::npos ? "" : word.substr(equals + 1)});
    } else if (!options.empty()) {
      options.back().values += (options.back().values.empty() ? "" : " ") + word;
    }
  }
  return options;
}

bool are_opposites(const std::string& a, const std::string& b) {
  return (a.starts_with("--no-") && "--" + a.substr(5) == b) ||
         (b.starts_with("--no-") && "--" + b.substr(5) == a) || (a == "--fp16" && b == "--bf16") ||
         (a == "--bf16" && b == "--fp16");
}

}  // namespace

std::vector<std::string> program_arguments(const Training& training,
                                           const std::optional<ResumeFrom>& resume) {
  auto arguments = training.model.family == ModelFamily::kGpt
                       ? gpt_arguments(training, resume)
                       : PatchArguments(training, resume).build();
  arguments.insert(arguments.end(), training.extra_args.begin(), training.extra_args.end());
  return arguments;
}

Status check_extra_arguments(const std::vector<std::string>& computed,
                             const std::vector<std::string>& extra) {
  const std::vector<Option> known = options_of(computed);
  for (const Option& option : options_of(extra)) {
    for (const Option& other : known) {
      const bool differs = other.name == option.name && other.values != option.values;
      if (differs || are_opposites(other.name, option.name))
        return fail(Error::Kind::kUsage,
                    "extra argument '{}' contradicts '{}', which comes from the other settings of "
                    "this file",
                    option.text(), other.text());
    }
  }
  return {};
}

std::string program_entry(const Training& training) {
  switch (training.model.family) {
    case ModelFamily::kLlama:
      return "pretrain_llama.py";
    case ModelFamily::kQwen:
      return "../qwen2/pretrain_qwen.py";
    case ModelFamily::kGpt:
      break;
  }
  return "pretrain_gpt.py";
}

std::string program_cwd(const Training& training) {
  switch (training.model.family) {
    case ModelFamily::kLlama:
      return training.root + "/examples/llama3_1";
    case ModelFamily::kQwen:
      return training.root + "/examples/qwen2_5";
    case ModelFamily::kGpt:
      break;
  }
  return training.root;
}

}  // namespace megalaunch
