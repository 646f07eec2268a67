#include "launcher/megatron/gpt_arguments.h"

#include <algorithm>

#include "launcher/megatron/arguments.h"
#include "launcher/megatron/training.h"

namespace megalaunch {
namespace {

using Settings = MegatronSettings;
using Words = std::vector<std::string>;

void append(Words& to, const Words& words) {
  to.insert(to.end(), words.begin(), words.end());
}

Words sizes(const Training& t) {
  const ModelPreset& m = t.model;
  return {"--tensor-model-parallel-size",
          t.tp.text,
          "--pipeline-model-parallel-size",
          t.pp.text,
          "--context-parallel-size",
          t.cp.text,
          "--num-layers",
          std::to_string(m.layers),
          "--hidden-size",
          std::to_string(m.hidden),
          "--ffn-hidden-size",
          std::to_string(m.ffn),
          "--num-attention-heads",
          std::to_string(m.heads),
          "--micro-batch-size",
          t.micro.text,
          "--global-batch-size",
          t.global.text,
          "--seq-length",
          t.sequence_length.text,
          "--max-position-embeddings",
          t.sequence_length.text,
          "--train-iters",
          t.iterations};
}

Words script_arguments(const Training& t) {
  Words args = sizes(t);
  append(args, {"--save", t.checkpoint_dir, "--load", t.load, "--data-path"});
  append(args, t.train_data.words);
  append(args, {"--tokenizer-type", "HuggingFaceTokenizer", "--tokenizer-model", t.tokenizer,
                "--vocab-file", t.tokenizer, "--split", "99,1,0", "--distributed-backend", "nccl"});
  const std::int64_t steps = std::stoll(t.iterations);
  append(args, {"--lr",
                t.lr.text,
                "--lr-decay-style",
                "cosine",
                "--lr-decay-iters",
                t.decay_iterations,
                "--min-lr",
                t.min_lr.text,
                "--weight-decay",
                "0.1",
                "--clip-grad",
                "1",
                "--lr-warmup-iters",
                t.warmup_iterations,
                "--optimizer",
                "adam",
                "--adam-beta1",
                "0.9",
                "--adam-beta2",
                "0.95",
                "--save-interval",
                std::to_string(steps / 10),
                "--log-interval",
                "1",
                "--log-throughput",
                "--log-timers-to-tensorboard",
                "--log-validation-ppl-to-tensorboard",
                "--timing-log-level",
                "1",
                "--eval-interval",
                std::to_string(steps / 30),
                "--eval-iters",
                "1"});
  append(args, {"--bf16",
                "--attention-dropout",
                "0",
                "--hidden-dropout",
                "0",
                "--use-rotary-position-embeddings",
                "--untie-embeddings-and-output-weights",
                "--no-position-embedding",
                "--swiglu",
                "--normalization",
                "RMSNorm",
                "--disable-bias-linear",
                "--tensorboard-dir",
                t.tensorboard_dir,
                "--tensorboard-log-interval",
                "1",
                "--use-flash-attn",
                "--timing-log-level",
                "1",
                "--use-mcore-models",
                "--no-masked-softmax-fusion",
                "--attention-softmax-in-fp32",
                "--distributed-timeout-minutes",
                "60",
                "--num-dataset-builder-threads",
                "1",
                "--num-workers",
                "2",
                "--use-distributed-optimizer",
                "--overlap-grad-reduce",
                "--overlap-param-gather",
                "--flash-save",
                "--flash-load",
                "--data-cache-path",
                t.output + "/data_cache_" + t.data_index});
  return args;
}

Words own_arguments(const Training& t, const std::optional<ResumeFrom>& resume) {
  Words args = sizes(t);
  append(args, {"--save", t.checkpoint_dir});
  if (resume || !t.load.empty()) append(args, {"--load", resume ? t.checkpoint_dir : t.load});
  if ((resume && !resume->optimizer) || (!resume && !t.load.empty()))
    append(args, {"--no-load-optim", "--no-load-rng"});
  append(args, {"--data-path"});
  append(args, t.train_data.words);
  append(args, {"--tokenizer-type", "HuggingFaceTokenizer", "--tokenizer-model", t.tokenizer,
                "--split", "99,1,0", "--data-cache-path",
                t.output + "/data_cache" + (t.data_index.empty() ? "" : "_" + t.data_index)});
  append(args, {"--lr",
                t.lr.text,
                "--min-lr",
                t.min_lr.text,
                "--lr-decay-style",
                "cosine",
                "--lr-decay-iters",
                t.decay_iterations,
                "--lr-warmup-iters",
                t.warmup_iterations,
                "--weight-decay",
                "0.1",
                "--clip-grad",
                "1.0",
                "--adam-beta1",
                "0.9",
                "--adam-beta2",
                "0.95",
                "--init-method-std",
                "0.008"});
  const std::int64_t evaluate = std::max<std::int64_t>(std::stoll(t.iterations) / 30, 1);
  append(args,
         {"--save-interval", t.save_interval.text, "--log-interval", "1", "--log-throughput",
          "--eval-interval", std::to_string(evaluate), "--eval-iters", "1", "--tensorboard-dir",
          t.tensorboard_dir, "--log-timers-to-tensorboard", "--log-validation-ppl-to-tensorboard"});
  append(args, {t.precision == Settings::Precision::kFp16 ? "--fp16" : "--bf16"});
  if (t.precision == Settings::Precision::kFp8)
    append(args, {"--fp8-format", "hybrid", "--fp8-amax-compute-algo", "max",
                  "--fp8-amax-history-len", "1024"});
  append(args,
         {"--attention-dropout", "0.0", "--hidden-dropout", "0.0", "--position-embedding-type",
          "rope", "--swiglu", "--normalization", "RMSNorm", "--disable-bias-linear",
          "--untie-embeddings-and-output-weights", "--transformer-impl", "transformer_engine"});
  if (t.flash_attention) append(args, {"--use-flash-attn"});
  if (t.activations == Settings::Activations::kSelective) append(args, {"--recompute-activations"});
  if (t.activations == Settings::Activations::kFull)
    append(args, {"--recompute-granularity", "full", "--recompute-method", "uniform",
                  "--recompute-num-layers", t.activation_layers.text});
  if (t.distributed) append(args, {"--use-distributed-optimizer"});
  if (t.sequence && t.tp.value > 1) append(args, {"--sequence-parallel"});
  if (t.sequence && t.tp.value > 1) append(args, {"--tp-comm-overlap"});
  append(args, {"--overlap-grad-reduce"});
  if (t.distributed) append(args, {"--overlap-param-gather"});
  if (!t.virtual_layers.empty())
    append(args, {"--num-layers-per-virtual-pipeline-stage", t.virtual_layers});
  return args;
}

}  // namespace

std::vector<std::string> gpt_arguments(const Training& training,
                                       const std::optional<ResumeFrom>& resume) {
  return training.script != nullptr ? script_arguments(training) : own_arguments(training, resume);
}

}  // namespace megalaunch
