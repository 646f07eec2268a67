#include "launcher/megatron/checks.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "launcher/megatron/nearest.h"

namespace megalaunch {
namespace {

using Settings = MegatronSettings;

class Checker {
 public:
  explicit Checker(const Training& training)
      : t_(training), m_(training.model), world_(training.world()) {}

  std::vector<Check> run() {
    lower_sizes();
    world();
    overlap();
    virtual_stages();
    model_sizes();
    batch();
    tensor_parallel();
    offload();
    schedule();
    data();
    silent_drop();
    known_defects();
    doubtful();
    return std::move(checks_);
  }

 private:
  template <class... Args>
  void error(const char* code, fmt::format_string<Args...> format, Args&&... args) {
    checks_.push_back(
        {code, Check::Level::kError, fmt::format(format, std::forward<Args>(args)...)});
  }
  template <class... Args>
  void warning(const char* code, fmt::format_string<Args...> format, Args&&... args) {
    checks_.push_back(
        {code, Check::Level::kWarning, fmt::format(format, std::forward<Args>(args)...)});
  }
  /// What the program changes without a word: part of what a script does, never of what own mode
  /// may do.
  void silent(const char* code, std::string message) {
    checks_.push_back(
        {code, own_mode() ? Check::Level::kError : Check::Level::kWarning, std::move(message)});
  }

  bool own_mode() const { return t_.script == nullptr; }
  bool is_gpt() const { return m_.family == ModelFamily::kGpt; }
  bool passes_sequence_parallel() const {
    return t_.sequence && t_.tp.value > 1 && !(is_gpt() && !own_mode());
  }
  bool recomputes_fully() const { return t_.activations == Settings::Activations::kFull; }
  bool offloads_activations() const { return t_.activations == Settings::Activations::kOffload; }
  bool interleaves() const { return !t_.virtual_layers.empty(); }

  bool tp_fits(std::int64_t tp) const {
    const bool rest = m_.heads % tp == 0 && m_.query_groups % tp == 0 && m_.ffn % tp == 0 &&
                      (m_.vocabulary == 0 || m_.vocabulary % tp == 0);
    return rest && world_ % tp == 0;
  }

  // Rule 1: sizes that are too large are lowered.
  void lower_sizes() {
    tp_ = std::min(t_.tp.value, world_);
    pp_ = std::max<std::int64_t>(std::min(t_.pp.value, world_ / tp_), 1);
    if (tp_ == t_.tp.value && pp_ == t_.pp.value) return;
    silent("parallel-size-clamped",
           fmt::format("{} GPUs ({} nodes of {}) are fewer than parallel.tp={} times "
                       "parallel.pp={} needs: the program would lower "
                       "them to tp={} pp={} and train something else than asked for; use more "
                       "nodes or smaller sizes",
                       world_, t_.nodes, t_.ranks_per_node, t_.tp.text, t_.pp.text, tp_, pp_));
  }

  // Rules 1 and 2: the GPUs are divided without a rest.
  void world() {
    if (world_ % tp_ != 0) {
      error("world-not-divisible-by-tp", "parallel.tp={} does not divide {} GPUs; {}", tp_, world_,
            use_one_of(nearest_that_pass(tp_, world_, 4, [&](auto n) { return tp_fits(n); })));
    }
    const std::int64_t copy = tp_ * pp_ * t_.cp.value;
    if (copy > 0 && world_ % copy == 0) {
      dp_ = world_ / copy;
      return;
    }
    error("world-not-divisible-by-tp-pp-cp",
          "parallel.tp={} times parallel.pp={} times parallel.cp={} is {}, which does not divide "
          "{} GPUs ({} nodes of {}); for pp {}",
          tp_, pp_, t_.cp.text, copy, world_, t_.nodes, t_.ranks_per_node,
          use_one_of(nearest_that_pass(pp_, m_.layers, 4, [&](auto n) {
            return world_ % (tp_ * n * t_.cp.value) == 0 && m_.layers % n == 0;
          })));
  }

  // Rules 3 and 5.
  void overlap() {
    if (!is_gpt() && !own_mode() && t_.tp.value > 1 && !t_.sequence)
      error("tp-comm-overlap-needs-sequence-parallel",
            "with parallel.tp={} this script passes --tp-comm-overlap, which needs "
            "--sequence-parallel; use "
            "parallel.sequence: true, or tp 1",
            t_.tp.text);
    if (!own_mode() && !t_.distributed && !offloads_activations())
      error("param-gather-overlap-needs-distributed-optimizer",
            "this script passes --overlap-param-gather, which needs --use-distributed-optimizer; "
            "use optimizer.distributed: true");
    if (t_.offload != Settings::Offload::kNone && !t_.distributed)
      error("hybridadam-needs-distributed-optimizer",
            "optimizer.offload needs optimizer.distributed: true");
  }

  // Rules 4 and 18.
  void virtual_stages() {
    if (!interleaves()) return;
    const std::int64_t v = std::strtoll(t_.virtual_layers.c_str(), nullptr, 10);
    if (pp_ < 2)
      error("interleaving-needs-pp",
            "{} layers per virtual stage (parallel.virtual_stage_layers) need parallel.pp of 2 or "
            "more, not {}; {}",
            v, pp_,
            script_always_sets_them()
                ? "this script always passes them: use pp 2 or more, or own mode"
                : "use none, or a larger pp");
    if (m_.layers % pp_ != 0) {
      error("layers-not-divisible-by-pp", "parallel.pp={} does not divide the {} layers of {}; {}",
            pp_, m_.layers, m_.name, use_one_of(nearest_that_pass(pp_, m_.layers, 6, [&](auto n) {
              return m_.layers % n == 0;
            })));
    } else if (const std::int64_t stage = m_.layers / pp_; v == 0 || stage % v != 0) {
      error("stage-layers-not-divisible-by-vp",
            "pp={} with {} layers per virtual stage: {} layers per stage do not divide; {}", pp_, v,
            stage,
            script_always_sets_them()
                ? "this script always sets layers/PP/4: use another pp, or own mode"
                : use_one_of(virtual_stages_of(stage), "none"));
    }
    if (dp_ == 0 || t_.global.value % (t_.micro.value * dp_) != 0) return;
    const std::int64_t micro_batches = t_.global.value / (t_.micro.value * dp_);
    if (micro_batches % pp_ != 0)
      error("microbatches-not-divisible-by-pp",
            "with virtual stages the {} micro batches (batch.global={} / (batch.micro={} x {} "
            "data-parallel copies)) must divide "
            "by parallel.pp={}; for batch.global {}",
            micro_batches, t_.global.value, t_.micro.value, dp_, pp_,
            use_one_of(nearest_multiples(t_.global.value, t_.micro.value * dp_ * pp_)));
  }

  /// A whole stage as its one virtual stage would be no virtual stage.
  static std::vector<std::int64_t> virtual_stages_of(std::int64_t stage) {
    auto layers = divisors(stage);
    if (layers.size() > 1) layers.pop_back();
    return layers;
  }

  bool script_always_sets_them() const {
    return !own_mode() && t_.script->virtual_stages == ScriptVariant::VirtualStages::kQuarter;
  }

  // Rule 7.
  void model_sizes() {
    // The fork behind the script gpt-pretrain is on record with such sizes; Megatron-LM refuses
    // them.
    if (m_.hidden % m_.heads != 0)
      silent("hidden-not-divisible-by-heads",
             fmt::format("sizes.heads={} does not divide sizes.hidden={}; {}", m_.heads, m_.hidden,
                         use_one_of(nearest_that_pass(
                             m_.heads, m_.hidden, 4, [&](auto n) { return m_.hidden % n == 0; }))));
    const std::int64_t cp = t_.cp.value;
    const std::int64_t length = t_.sequence_length.value;
    if (cp > 1 && length % (2 * cp) != 0)
      error("seq-not-multiple-of-2cp",
            "batch.sequence_length={} is no multiple of 2 x parallel.cp={}; {}", length, 2 * cp,
            use_one_of(nearest_multiples(length, 2 * cp)));
    if (length > m_.max_positions)
      error("seq-over-max-positions",
            "batch.sequence_length={} is longer than the {} positions of {}; use at most {}",
            length, m_.max_positions, m_.name, m_.max_positions);
    if (t_.min_lr.value > t_.lr.value)
      error("min-lr-over-lr", "optimizer.min_lr={} is larger than optimizer.lr={}; use at most {}",
            t_.min_lr.text, t_.lr.text, t_.lr.text);
  }

  // Rule 10.
  void batch() {
    if (dp_ == 0) return;
    const std::int64_t step = t_.micro.value * dp_;
    if (t_.global.value % step != 0)
      error("gbs-not-divisible-by-mbs-dp",
            "batch.global={} is no multiple of batch.micro={} x {} data-parallel copies ({} GPUs / "
            "(tp {} x pp {} x cp {})); for "
            "batch.global {}",
            t_.global.value, t_.micro.value, dp_, world_, tp_, pp_, t_.cp.value,
            use_one_of(nearest_multiples(t_.global.value, step)));
  }

  // Rules 11 and 14.
  void tensor_parallel() {
    const auto ways = [&] {
      return use_one_of(nearest_that_pass(tp_, world_, 4, [&](auto n) { return tp_fits(n); }));
    };
    if (m_.heads % tp_ != 0)
      error("heads-not-divisible-by-tp",
            "parallel.tp={} does not divide the {} attention heads of {}; {}", tp_, m_.heads,
            m_.name, ways());
    if (!is_gpt() && m_.query_groups % tp_ != 0)
      error("query-groups-not-divisible-by-tp",
            "parallel.tp={} does not divide the {} query groups of {}; {}", tp_, m_.query_groups,
            m_.name, ways());
    if (m_.ffn % tp_ != 0 || m_.vocabulary % tp_ != 0)
      error(
          "dims-not-divisible-by-tp",
          "parallel.tp={} does not divide the feed-forward size {} and the vocabulary {} of {}; {}",
          tp_, m_.ffn, m_.vocabulary, m_.name, ways());
    const std::int64_t part = t_.sequence_length.value / t_.cp.value;
    if (passes_sequence_parallel() && tp_ > 1 && part % tp_ != 0)
      error("seq-not-divisible-by-tp",
            "sequence parallel: batch.sequence_length={} / parallel.cp={} is {}, which "
            "parallel.tp={} does not divide; for the length {}",
            t_.sequence_length.value, t_.cp.value, part, tp_,
            use_one_of(nearest_multiples(t_.sequence_length.value, 2 * t_.cp.value * tp_)));
  }

  // Rules 12 and 13, and the check that the scripts make themselves.
  void offload() {
    const std::int64_t layers = t_.activation_layers.value;
    if (offloads_activations()) {
      if (layers >= m_.layers)
        error("offload-layers-out-of-range",
              "activations.layers={} must be less than the {} layers of {}; use at most {}", layers,
              m_.layers, m_.name, m_.layers - 1);
      if (pp_ > 1)
        error("cpu-offload-with-pp",
              "activations.mode: offload works with parallel.pp=1 only, not {}; use another mode "
              "or pp 1",
              pp_);
    }
    if (!recomputes_fully()) return;
    // In a script shell arithmetic decides; own mode has no leading zeros, so both readings are
    // one.
    const std::int64_t stage = t_.pp.shell == 0 ? 0 : m_.layers / t_.pp.shell;
    if (t_.activation_layers.shell == 0 || stage % t_.activation_layers.shell != 0)
      error("recompute-layers-not-dividing-stage",
            "activations.layers={} does not divide the {} layers of a pipeline stage ({} layers / "
            "parallel.pp={}); {}",
            layers, stage, m_.layers, t_.pp.text, use_one_of(divisors(stage)));
  }

  // Rule 15.
  void schedule() {
    const std::int64_t warmup = std::strtoll(t_.warmup_iterations.c_str(), nullptr, 10);
    const std::int64_t decay = std::strtoll(t_.decay_iterations.c_str(), nullptr, 10);
    const std::int64_t iterations = std::strtoll(t_.iterations.c_str(), nullptr, 10);
    if (decay <= 0 || warmup >= decay) {
      const bool by_tokens = t_.mode == Settings::Mode::kPretrain && own_mode();
      error(
          "warmup-not-below-decay",
          "{} warm-up iterations must be fewer than the {} iterations in which the learning rate "
          "decays{}; {}",
          warmup, decay,
          t_.mode == Settings::Mode::kFinetune && !own_mode() ? " (iterations minus warm-up)" : "",
          iterations == 0 ? "there is no iteration at all: train.tokens / batch.global / "
                            "batch.sequence_length is 0"
          : by_tokens     ? "lower train.warmup_tokens or train.warmup_iterations"
                          : "lower train.warmup_iterations (or train.warmup_tokens)");
    }
  }

  // Rules 16 and 17.
  void data() {
    weights();
    if (is_gpt()) return;
    if (t_.load.empty())
      error("tokenizer-needs-load",
            "the tokenizer is read from the load directory; give `load`, the directory of the "
            "initial "
            "model or of the tokenizer alone");
    if (t_.data_type == Settings::DataType::kRaw && t_.mode != Settings::Mode::kFinetune)
      error("raw-dataset-with-pretrain",
            "data.type: raw works with train.mode: finetune only; use idxmap");
    if (t_.packing && t_.cp.value > 1)
      error("packing-with-cp",
            "data.packing works with parallel.cp=1 only, not {}; use packing: false or cp 1",
            t_.cp.value);
    if (t_.packing && t_.micro.value > 1)
      warning(
          "packing-with-micro-batch",
          "data.packing looks at the first sequence of a micro batch only: batch.micro={} gives "
          "wrong positions to the others; use 1",
          t_.micro.value);
  }

  /// The program takes prefixes alone, or weights and prefixes in turns.
  void weights() {
    for (const auto& [key, list] :
         {std::pair("data.train", &t_.train_data), {"data.valid", &t_.valid_data}}) {
      const auto& words = list->words;
      const auto is_weight = [](const std::string& word) {
        return word.find_first_not_of("0123456789.eE+-") == std::string::npos;
      };
      if (std::none_of(words.begin(), words.end(), is_weight)) continue;
      size_t wrong = words.size();
      for (size_t i = words.size(); i-- > 0;)
        if (is_weight(words[i]) != (i % 2 == 0)) wrong = i;
      if (wrong == words.size() && words.size() % 2 == 0) continue;
      silent("data-weights-not-alternating",
             fmt::format("{}: weights and prefixes must alternate (0.3, /a, 0.7, /b); {}", key,
                         wrong < words.size()
                             ? fmt::format("word {} is '{}'", wrong + 1, words[wrong])
                             : fmt::format("the last weight, '{}', has no prefix", words.back())));
    }
  }

  // Rule 20.
  void silent_drop() {
    if (interleaves() || m_.layers % pp_ == 0) return;
    silent("layers-dropped-by-pp",
           fmt::format("parallel.pp={} does not divide the {} layers of {}: the program would "
                       "build {} per stage and drop {} without a "
                       "word; {}",
                       pp_, m_.layers, m_.name, m_.layers / pp_, m_.layers % pp_,
                       use_one_of(nearest_that_pass(pp_, m_.layers, 6,
                                                    [&](auto n) { return m_.layers % n == 0; }))));
  }

  // Rule 21.
  void known_defects() {
    if (m_.family == ModelFamily::kLlama && t_.precision == Settings::Precision::kFp8 &&
        recomputes_fully())
      error("fp8-full-recompute-unsupported",
            "the Llama model of this program version fails with precision: fp8 and "
            "activations.mode: full (te_checkpoint() lacks packed_seq_params); use bf16, or "
            "selective, or none");
  }

  // What starts and is rarely meant.
  void doubtful() {
    const std::int64_t iterations = std::strtoll(t_.iterations.c_str(), nullptr, 10);
    const std::int64_t warmup = std::strtoll(t_.warmup_iterations.c_str(), nullptr, 10);
    if (t_.distributed_forced)
      warning("distributed-optimizer-forced",
              "optimizer.offload switches optimizer.distributed on");
    if (is_gpt() && !own_mode() && iterations < 30)
      warning("interval-of-zero",
              "{} iterations give a save interval of {} and an evaluation interval of {}",
              iterations, iterations / 10, iterations / 30);
    if (t_.mode == Settings::Mode::kPretrain && iterations > 0 && warmup == 0)
      warning("no-warm-up",
              "train.warmup_tokens gives 0 warm-up iterations: the learning rate starts at its "
              "maximum");
  }

  const Training& t_;
  const ModelPreset& m_;
  std::int64_t world_;
  std::int64_t tp_ = 1, pp_ = 1;  ///< as the program lowers them
  std::int64_t dp_ = 0;           ///< 0: the GPUs do not divide
  std::vector<Check> checks_;
};

}  // namespace

std::vector<Check> check_training(const Training& training) {
  return Checker(training).run();
}

bool has_errors(const std::vector<Check>& checks) {
  return std::any_of(checks.begin(), checks.end(),
                     [](const Check& check) { return check.level == Check::Level::kError; });
}

}  // namespace megalaunch
