#include "launcher/megatron/training.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <iterator>

#include "env/utc_time.h"
#include "launcher/megatron/run_name.h"

namespace megalaunch {
namespace {

using Settings = MegatronSettings;

/// Division as a shell does it; the callers have made sure that nothing is divided by zero or
/// complained otherwise.
std::int64_t quotient(std::int64_t a, std::int64_t b) {
  return b == 0 ? 0 : a / b;
}

std::string path_text(const std::filesystem::path& base, const std::string& text) {
  return (base / text).string();
}

class Resolver {
 public:
  Resolver(const Job& job, const LaunchPlan& plan, WallTime now)
      : job_(job), plan_(plan), settings_(*job.megatron), now_(now) {}

  ResolvedTraining resolve() {
    find_script();
    training_.nodes = plan_.nodes;
    training_.ranks_per_node = plan_.ranks_per_node;
    training_.root =
        path_text(job_.workdir,
                  settings_.root.value_or(is_gpt_script() ? "Megatron-LM" : "Pai-Megatron-Patch"));
    if (!find_model()) return finish();
    take_sizes();
    take_options();
    take_data();
    refuse_what_cannot_be_honoured();
    if (!errors_.empty()) return finish();
    take_schedule();
    take_virtual_stages();
    if (errors_.empty()) take_paths();
    return finish();
  }

 private:
  bool is_gpt() const { return training_.model.family == ModelFamily::kGpt; }
  bool is_gpt_script() const {
    return training_.script != nullptr && training_.script->family == ModelFamily::kGpt;
  }
  bool own_mode() const { return training_.script == nullptr; }
  bool given(const std::string& key) const { return settings_.positions.count(key) > 0; }

  void complain(const std::string& key, std::string message) {
    const auto found = settings_.positions.find(key);
    const auto& position = found != settings_.positions.end() ? found->second : settings_.section;
    errors_.push_back({position.file, position.line, position.column, key, std::move(message)});
  }

  ResolvedTraining finish() {
    ResolvedTraining resolved;
    resolved.errors = std::move(errors_);
    if (resolved.errors.empty()) resolved.training = std::move(training_);
    return resolved;
  }

  void find_script() {
    if (!settings_.script) return;
    training_.script = megalaunch::find_script(*settings_.script);
    if (training_.script != nullptr) return;
    std::string names;
    for (const ScriptVariant& script : script_variants())
      names += fmt::format("{}{}", names.empty() ? "" : ", ", script.name);
    complain("script",
             fmt::format("there is no script '{}'; there are {}", *settings_.script, names));
  }

  bool find_model() {
    const std::string printed = own_mode() ? "" : std::string(training_.script->model);
    const std::string name = settings_.model.value_or(printed);
    if (name.empty()) {
      complain("model", "missing; say which model to train (megalaunch presets lists them)");
      return false;
    }
    auto preset = find_preset(name, job_.workdir);
    if (!preset) {
      complain("model", preset.error().message);
    } else if (!own_mode() && preset->family != training_.script->family) {
      complain("model", fmt::format("script {} trains another family of models than '{}'",
                                    training_.script->name, name));
    } else {
      training_.model = std::move(*preset);
    }
    return preset.has_value() && errors_.empty();
  }

  /// The sizes of a gpt come from the job file; those of the script are printed in it.
  void take_sizes() {
    if (!is_gpt()) {
      if (given("sizes"))
        complain(
            "sizes",
            fmt::format("model {} has its own sizes; only 'gpt' takes them from here, or write "
                        "a preset of your own",
                        training_.model.name));
      return;
    }
    const auto take = [&](const std::optional<Number>& number, std::string_view key,
                          std::int64_t printed) {
      if (number) return number->value;
      if (own_mode())
        complain(fmt::format("sizes.{}", key), "missing; model 'gpt' has no sizes of its own");
      return printed;
    };
    ModelPreset& model = training_.model;
    model.layers = take(settings_.sizes.layers, "layers", 32);
    model.hidden = take(settings_.sizes.hidden, "hidden", 4096);
    model.ffn = take(settings_.sizes.ffn, "ffn", 11008);
    model.heads = take(settings_.sizes.heads, "heads", 32);
    model.query_groups = model.heads;
    model.max_positions = settings_.batch.sequence_length.value_or(Number(4096)).value;
  }

  void take_options() {
    Training& t = training_;
    const ScriptVariant* script = t.script;
    t.precision =
        settings_.precision.value_or(own_mode() ? Settings::Precision::kBf16 : script->precision);
    t.tp = settings_.parallel.tp.value_or(Number(own_mode() ? 1 : script->tp));
    t.pp = settings_.parallel.pp.value_or(Number(own_mode() ? 1 : script->pp));
    t.cp = settings_.parallel.cp.value_or(Number(own_mode() ? 1 : script->cp));
    t.sequence = settings_.parallel.sequence.value_or(!is_gpt_script());
    t.micro = settings_.batch.micro.value_or(Number(1));
    t.global = settings_.batch.global.value_or(Number(1024));
    const std::int64_t longest =
        own_mode() && !is_gpt() ? std::min<std::int64_t>(8192, t.model.max_positions) : 8192;
    t.sequence_length = settings_.batch.sequence_length.value_or(Number(is_gpt() ? 4096 : longest));
    t.padding_length =
        settings_.batch.padding_length.value_or(own_mode() ? t.sequence_length : Number(8192));
    t.lr = settings_.optimizer.lr.value_or(is_gpt_script() ? Decimal{"3e-4", 3e-4}
                                                           : Decimal{"1e-5", 1e-5});
    t.min_lr = settings_.optimizer.min_lr.value_or(is_gpt_script() ? Decimal{"3e-5", 3e-5}
                                                                   : Decimal{"1e-6", 1e-6});
    t.offload = settings_.optimizer.offload.value_or(Settings::Offload::kNone);
    t.distributed = settings_.optimizer.distributed.value_or(true);
    if (t.offload != Settings::Offload::kNone && !t.distributed)
      t.distributed = t.distributed_forced = true;
    t.activations = settings_.activations.mode.value_or(own_mode() ? Settings::Activations::kNone
                                                                   : script->activations);
    t.activations_word = settings_.activations.mode
                             ? settings_.activations.word
                             : std::string(own_mode() ? "none" : script->activations_word);
    t.activation_layers = settings_.activations.layers.value_or(Number(1));
    t.flash_attention = settings_.flash_attention.value_or(true);
    t.save_interval =
        settings_.save_interval.value_or(Number(own_mode() ? 1000 : script->save_interval));
    t.resume =
        settings_.resume.value_or(own_mode() ? Settings::Resume::kAuto : Settings::Resume::kNone) ==
        Settings::Resume::kAuto;
    t.extra_args = settings_.extra_args;
    if (own_mode()) refuse_leading_zeros();
  }

  /// Shell arithmetic reads 010 as eight, the training program as ten: only a script is reproduced
  /// with that.
  void refuse_leading_zeros() {
    const Training& t = training_;
    for (const auto& [key, number] : {std::pair("parallel.tp", &t.tp),
                                      {"parallel.pp", &t.pp},
                                      {"parallel.cp", &t.cp},
                                      {"batch.micro", &t.micro},
                                      {"batch.global", &t.global},
                                      {"batch.sequence_length", &t.sequence_length},
                                      {"batch.padding_length", &t.padding_length}})
      if (number->text.size() > 1 && number->text.front() == '0')
        complain(key,
                 fmt::format("'{}' has a leading zero; write {}", number->text, number->value));
  }

  void take_data() {
    Training& t = training_;
    t.data_type = settings_.data.type.value_or(Settings::DataType::kIdxmap);
    t.packing = settings_.data.packing.value_or(false);
    t.mode = settings_.train.mode.value_or(is_gpt_script() ? Settings::Mode::kDatalist
                                                           : Settings::Mode::kPretrain);
    t.data_index = settings_.data_index.value_or("");
    t.tokenizer = settings_.tokenizer.value_or("");
    if (settings_.data.train) t.train_data.words = *settings_.data.train;
    if (settings_.data.valid) t.valid_data.words = *settings_.data.valid;
    if (own_mode()) make_absolute(t.train_data.words);
    if (own_mode()) make_absolute(t.valid_data.words);
    if (t.mode == Settings::Mode::kDatalist) {
      read_data_list();
    } else if (t.train_data.words.empty()) {
      complain("data.train",
               "missing; say what to train on: train: [/data/prefix], or a weighted list [0.3, /a, "
               "0.7, /b]");
    } else if (t.data_type == Settings::DataType::kRaw && t.valid_data.words.empty()) {
      complain("data.valid", "missing; raw data needs a validation set: valid: [/data/file]");
    }
    take_load();
  }

  /// Relative data paths start at the workdir; a word that is a number is a weight.
  void make_absolute(std::vector<std::string>& words) const {
    for (std::string& word : words)
      if (word.find_first_not_of("0123456789.eE+-") != std::string::npos)
        word = path_text(job_.workdir, word);
  }

  void read_data_list() {
    if (!settings_.data.datalist) {
      complain("data.datalist",
               "missing; mode datalist reads weights and prefixes from a file: datalist: FILE");
      return;
    }
    const std::string path = path_text(job_.workdir, *settings_.data.datalist);
    std::ifstream file(path, std::ios::binary);
    if (!file) {
      complain("data.datalist", fmt::format("cannot read {}: {}", path, errno_text(errno)));
      return;
    }
    const std::string text((std::istreambuf_iterator<char>(file)),
                           std::istreambuf_iterator<char>());
    auto list = parse_data_list(text, path);
    if (list) {
      training_.train_data = std::move(*list);
    } else {
      complain("data.datalist", list.error().message);
    }
  }

  void take_load() {
    Training& t = training_;
    const std::string printed = own_mode() ? "" : std::string(t.script->load);
    const std::string load = settings_.load.value_or(printed);
    if (is_gpt()) {
      if (t.tokenizer.empty())
        complain("tokenizer", "missing; model 'gpt' needs the directory of its tokenizer");
      if (!load.empty() && load != "none") t.load = path_text(job_.workdir, load);
    } else if (load == "none" && !own_mode()) {
      complain("load",
               "'none' stops this script before it starts anything: the tokenizer is read from the "
               "load directory; "
               "give a directory with the tokenizer's files");
    } else if (load.empty() && !own_mode()) {
      complain("load",
               "missing; give the directory of the initial model, or of the tokenizer alone");
    } else if (!load.empty() && load != "none") {
      t.load = path_text(job_.workdir, load);
    }
  }

  void refuse(const std::string& key, bool at_odds) {
    if (!given(key) || !at_odds) return;
    complain(
        key,
        own_mode()
            ? fmt::format("has no effect on model {}; leave it out", training_.model.name)
            : fmt::format("script {} cannot honour it; leave the key out, or 'script' for own mode",
                          training_.script->name));
  }

  void refuse_in_own_mode() {
    const Training& t = training_;
    for (const char* key : {"data_index", "tokenizer"}) refuse(key, !is_gpt());
    for (const char* key : {"batch.padding_length", "data.valid"}) refuse(key, is_gpt());
    refuse("data.extra_valid", true);
    refuse("optimizer.offload", is_gpt() && t.offload != Settings::Offload::kNone);
    refuse("activations.mode", is_gpt() && t.activations == Settings::Activations::kOffload);
    refuse("data.type", is_gpt() && t.data_type == Settings::DataType::kRaw);
    refuse("data.packing", is_gpt() && t.packing);
    refuse("train.mode", is_gpt() && t.mode == Settings::Mode::kFinetune);
  }

  void refuse_what_cannot_be_honoured() {
    const Training& t = training_;
    if (own_mode()) return refuse_in_own_mode();
    const bool gpt = is_gpt_script();
    refuse("train.mode", gpt != (t.mode == Settings::Mode::kDatalist));
    for (const char* key :
         {"data_index", "tokenizer", "data.datalist", "data.extra_valid", "train.seen_steps"})
      refuse(key, !gpt);
    for (const char* key : {"batch.padding_length", "data.type", "data.train", "data.valid",
                            "data.packing", "load", "save_interval", "train.tokens",
                            "train.warmup_tokens", "train.iterations", "activations.layers"})
      refuse(key, gpt);
    refuse("precision", gpt && t.precision != Settings::Precision::kBf16);
    refuse("parallel.sequence", gpt && t.sequence);
    refuse("optimizer.distributed", gpt && !t.distributed);
    refuse("optimizer.offload", gpt && t.offload != Settings::Offload::kNone);
    refuse("activations.mode", gpt && t.activations != Settings::Activations::kNone);
    refuse("flash_attention", gpt && !t.flash_attention);
    if (t.mode == Settings::Mode::kDatalist) return;
    const bool finetune = t.mode == Settings::Mode::kFinetune;
    for (const char* key : {"train.tokens", "train.warmup_tokens"}) refuse(key, finetune);
    for (const char* key : {"train.iterations", "train.warmup_iterations"}) refuse(key, !finetune);
  }

  std::int64_t arithmetic(const Number& number) const {
    return own_mode() ? number.value : number.shell;
  }

  void take_schedule() {
    Training& t = training_;
    const auto& train = settings_.train;
    const std::int64_t length = arithmetic(t.sequence_length);
    const std::int64_t global = arithmetic(t.global);
    if (t.mode == Settings::Mode::kDatalist) {
      // As the script does it: 940 of 1000 tokens count, and a product that is too large wraps.
      const auto scaled =
          static_cast<std::int64_t>(static_cast<std::uint64_t>(t.train_data.tokens) * 940u) / 1000;
      const std::int64_t seen = train.seen_steps ? arithmetic(*train.seen_steps) : 0;
      t.iterations = t.decay_iterations =
          std::to_string(seen + quotient(quotient(scaled, length), global));
      t.warmup_iterations = train.warmup_iterations ? train.warmup_iterations->text : "50";
      if (is_gpt_script()) t.save_interval = Number(std::stoll(t.iterations) / 10);
      return;
    }
    const bool by_iterations =
        t.mode == Settings::Mode::kFinetune || (own_mode() && train.iterations);
    if (by_iterations) {
      take_iterations();
      return;
    }
    if (!train.tokens && own_mode()) {
      complain("train.tokens", "missing; say how long to train: tokens, or iterations");
      return;
    }
    if (given("train.warmup_iterations"))
      complain("train.warmup_iterations", "goes with train.iterations; give warmup_tokens");
    const Number tokens = train.tokens.value_or(Number(100000000000));
    const Number warmup = train.warmup_tokens.value_or(Number(100000000));
    t.iterations = t.decay_iterations =
        std::to_string(quotient(quotient(arithmetic(tokens), global), length));
    t.warmup_iterations = std::to_string(quotient(quotient(arithmetic(warmup), global), length));
  }

  void take_iterations() {
    Training& t = training_;
    const auto& train = settings_.train;
    if (!train.iterations)
      complain("train.iterations",
               "missing; fine-tuning counts in iterations: give 'iterations' and "
               "'warmup_iterations'");
    if (!train.warmup_iterations && !own_mode())
      complain("train.warmup_iterations", "missing; fine-tuning needs it");
    for (const char* key : {"train.tokens", "train.warmup_tokens"})
      if (given(key)) complain(key, "contradicts train.iterations; give one of them");
    if (!errors_.empty()) return;
    const Number warmup = train.warmup_iterations.value_or(Number(0));
    t.iterations = train.iterations->text;
    t.warmup_iterations = warmup.text;
    // The scripts let the learning rate decay over what is left after the warm-up, although
    // Megatron counts it in.
    t.decay_iterations =
        own_mode() ? t.iterations : std::to_string(train.iterations->shell - warmup.shell);
  }

  void take_virtual_stages() {
    Training& t = training_;
    const auto& wanted = settings_.parallel.virtual_stage_layers;
    if (own_mode()) {
      if (wanted) t.virtual_layers = std::to_string(wanted->value);
      if (!wanted && !settings_.parallel.virtual_none) t.virtual_layers = automatic_text();
      return;
    }
    using enum ScriptVariant::VirtualStages;
    switch (t.script->virtual_stages) {
      case kNever:
        if (wanted)
          complain("parallel.virtual_stage_layers",
                   fmt::format("script {} has no virtual stages", t.script->name));
        return;
      case kAsSet:
        if (wanted) t.virtual_layers = wanted->text;
        return;
      case kQuarter:
        break;
    }
    t.virtual_layers = std::to_string(quotient(quotient(t.model.layers, t.pp.shell), 4));
    if (settings_.parallel.virtual_none || (wanted && wanted->text != t.virtual_layers))
      complain("parallel.virtual_stage_layers",
               fmt::format("script {} always sets layers/PP/4, here {}; write auto, or leave out "
                           "'script' for own mode",
                           t.script->name, t.virtual_layers));
  }

  std::string automatic_text() const {
    const Training& t = training_;
    const std::int64_t ranks_per_copy = t.tp.value * t.pp.value * t.cp.value;
    const std::int64_t copies = quotient(t.world(), ranks_per_copy);
    const std::int64_t micro_batches = quotient(t.global.value, t.micro.value * copies);
    const auto layers = automatic_virtual_layers(t.model.layers, t.pp.value, micro_batches);
    return layers ? std::to_string(*layers) : "";
  }

  void take_paths() {
    Training& t = training_;
    if (plan_.output) {
      t.output = plan_.output->string();
    } else if (is_gpt()) {
      t.output = is_gpt_script() ? "output" : path_text(t.root, "output");
    } else {
      complain("output", "no output directory: give 'output', or set OUTPUT_DIR");
      return;
    }
    if (is_gpt_script()) {
      t.run_name = job_.name;
      t.checkpoint_dir = t.output + "/checkpoints";
      t.load = t.checkpoint_dir;
      t.tensorboard_dir = t.output + "/tf_logs";
      return;
    }
    t.run_name = own_mode() ? own_run_name(t) : script_run_name(t);
    t.checkpoint_dir = t.output + "/checkpoint/" + t.run_name;
    const bool per_run = own_mode() || t.script->tensorboard_per_run;
    t.tensorboard_dir = per_run ? t.output + "/tensorboard/" + t.run_name + "_" +
                                      utc_time(now_, "%Y.%m.%d-%H.%M.%S")
                                : t.output + "/tf_logs";
  }

  const Job& job_;
  const LaunchPlan& plan_;
  const MegatronSettings& settings_;
  WallTime now_;
  Training training_;
  std::vector<JobError> errors_;
};

}  // namespace

ResolvedTraining resolve_training(const Job& job, const LaunchPlan& plan, WallTime now) {
  return Resolver(job, plan, now).resolve();
}

std::optional<std::int64_t> automatic_virtual_layers(std::int64_t layers, std::int64_t pp,
                                                     std::int64_t micro_batches) {
  if (pp < 2 || layers % pp != 0 || micro_batches < 1 || micro_batches % pp != 0)
    return std::nullopt;
  const std::int64_t stage = layers / pp;
  if (stage < 2) return std::nullopt;
  for (std::int64_t v = std::max<std::int64_t>(stage / 4, 1); v > 1; --v)
    if (stage % v == 0) return v;
  return 1;
}

}  // namespace megalaunch
