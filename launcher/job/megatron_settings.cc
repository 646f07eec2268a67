#include "launcher/job/megatron_settings.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <limits>

namespace megalaunch {
namespace {

using Settings = MegatronSettings;

// Far above any model, and small enough that no product of sizes overflows.
constexpr std::int64_t kMaxLayers = 1 << 14;
constexpr std::int64_t kMaxWidth = 1 << 20;
constexpr std::int64_t kMaxSplit = 1 << 20;
constexpr std::int64_t kMaxBatch = std::int64_t{1} << 30;
constexpr std::int64_t kMaxIterations = std::int64_t{1} << 40;

bool all_digits(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

/// What to write for a number in a form that neither shell arithmetic nor argparse takes as a whole
/// number.
std::string digits_of(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = error == std::errc() && end == text.data() + text.size() && value >= 0 &&
                     value < 9e18 && value == std::floor(value);
  return whole ? fmt::format("; write {}", static_cast<std::int64_t>(value)) : "";
}

/// Reads the values of one section that keep their spelling.
class SpelledSection {
 public:
  explicit SpelledSection(Section section) : section_(std::move(section)) {}

  Section& operator*() { return section_; }
  Section* operator->() { return &section_; }

  std::optional<Number> number(std::string_view key, std::int64_t min,
                               std::int64_t max = std::numeric_limits<std::int64_t>::max()) {
    const auto text = section_.text(key);
    if (!text) return std::nullopt;
    Number number;
    number.text = *text;
    const auto value = all_digits(*text) ? parse_integer(*text) : std::nullopt;
    if (!value) {
      section_.complain(key, fmt::format("'{}' is not a whole number in plain digits{}", *text,
                                         digits_of(*text)));
      return std::nullopt;
    }
    if (*value < min) {
      section_.complain(key, fmt::format("{} is too small; the least is {}", *text, min));
      return std::nullopt;
    }
    if (*value > max) {
      section_.complain(key, fmt::format("{} is too large; the most is {}", *text, max));
      return std::nullopt;
    }
    number.value = *value;
    number.shell = *value;
    if (text->size() > 1 && text->front() == '0') {
      const auto [end, error] =
          std::from_chars(text->data(), text->data() + text->size(), number.shell, 8);
      if (error != std::errc() || end != text->data() + text->size()) {
        section_.complain(
            key,
            fmt::format(
                "'{}' has a leading zero, which means octal in a shell, where it is no number; "
                "write {}",
                *text, *value));
        return std::nullopt;
      }
    }
    return number;
  }

  std::optional<Decimal> decimal(std::string_view key) {
    const auto text = section_.text(key);
    if (!text) return std::nullopt;
    Decimal decimal{*text, 0};
    const auto [end, error] =
        std::from_chars(text->data(), text->data() + text->size(), decimal.value);
    if (error == std::errc() && end == text->data() + text->size() &&
        std::isfinite(decimal.value) && decimal.value >= 0)
      return decimal;
    section_.complain(key, fmt::format("'{}' is not a number of at least 0, such as 1e-5", *text));
    return std::nullopt;
  }

  template <class Enum>
  std::optional<Enum> word(std::string_view key, std::initializer_list<std::string_view> words) {
    const auto index = section_.choice(key, words);
    return index ? std::optional<Enum>(static_cast<Enum>(*index)) : std::nullopt;
  }

 private:
  Section section_;
};

void read_sizes(SpelledSection section, Settings::Sizes& sizes) {
  sizes.layers = section.number("layers", 1, kMaxLayers);
  sizes.hidden = section.number("hidden", 1, kMaxWidth);
  sizes.ffn = section.number("ffn", 1, 4 * kMaxWidth);
  sizes.heads = section.number("heads", 1, kMaxWidth);
  section->finish();
}

void read_parallel(SpelledSection section, Settings::Parallel& parallel) {
  parallel.tp = section.number("tp", 1, kMaxSplit);
  parallel.pp = section.number("pp", 1, kMaxSplit);
  parallel.cp = section.number("cp", 1, kMaxSplit);
  parallel.sequence = section->boolean("sequence");
  if (!section->is_auto("virtual_stage_layers")) {
    const YamlNode* node = section->node("virtual_stage_layers");
    parallel.virtual_none = node->kind == YamlNode::Kind::kScalar && node->text == "none";
    if (!parallel.virtual_none)
      parallel.virtual_stage_layers = section.number("virtual_stage_layers", 0, kMaxLayers);
  }
  section->finish();
}

void read_batch(SpelledSection section, Settings::Batch& batch) {
  batch.micro = section.number("micro", 1, kMaxSplit);
  batch.global = section.number("global", 1, kMaxBatch);
  batch.sequence_length = section.number("sequence_length", 1, kMaxBatch);
  batch.padding_length = section.number("padding_length", 1, kMaxBatch);
  section->finish();
}

void read_optimizer(SpelledSection section, Settings::Optimizer& optimizer) {
  optimizer.lr = section.decimal("lr");
  optimizer.min_lr = section.decimal("min_lr");
  optimizer.distributed = section->boolean("distributed");
  optimizer.offload = section.word<Settings::Offload>("offload", {"none", "static", "auto"});
  section->finish();
}

void read_activations(SpelledSection section, Settings::ActivationMemory& activations) {
  using enum Settings::Activations;
  constexpr Settings::Activations kModes[] = {kNone, kSelective, kFull, kOffload, kNone};
  constexpr const char* kWords[] = {"none", "sel", "full", "offload", "false"};
  if (auto index = section->choice("mode", {"none", "selective", "full", "offload", "false"})) {
    activations.mode = kModes[*index];
    activations.word = kWords[*index];
  }
  activations.layers = section.number("layers", 1, kMaxLayers);
  section->finish();
}

void read_train(SpelledSection section, Settings::Train& train) {
  train.mode = section.word<Settings::Mode>("mode", {"pretrain", "finetune", "datalist"});
  train.tokens = section.number("tokens", 0);
  train.warmup_tokens = section.number("warmup_tokens", 0);
  train.iterations = section.number("iterations", 0, kMaxIterations);
  train.warmup_iterations = section.number("warmup_iterations", 0, kMaxIterations);
  train.seen_steps = section.number("seen_steps", 0, kMaxIterations);
  section->finish();
}

void read_data(SpelledSection section, Settings::Data& data) {
  data.type = section.word<Settings::DataType>("type", {"idxmap", "raw"});
  data.train = section->words("train");
  data.valid = section->words("valid");
  data.packing = section->boolean("packing");
  data.datalist = section->text("datalist");
  data.extra_valid = section->text("extra_valid");
  section->finish();
}

/// Notes where each key stands, and complains about keys without a value: what a script would do
/// with those is to hand on a damaged command.
void note_positions(const YamlNode& map, const std::string& prefix, Settings& settings,
                    std::vector<Complaint>& complaints) {
  for (const auto& entry : map.entries) {
    const std::string name = prefix + entry.name;
    const Place& place = entry.value.place;
    settings.positions[name] = {std::string(place.source), place.line, place.column};
    if (entry.value.is_null() && name != "data_index")
      complaints.push_back(
          {entry.place, name, "has no value; give one, or leave the key out for its default"});
    if (entry.value.is_map()) note_positions(entry.value, name + ".", settings, complaints);
  }
}

}  // namespace

std::shared_ptr<const MegatronSettings> read_megatron_settings(const YamlNode& node,
                                                               std::vector<Complaint>& complaints) {
  auto settings = std::make_shared<MegatronSettings>();
  SpelledSection top(Section(node, "", complaints));
  settings->section = {std::string(node.place.source), node.place.line, node.place.column};
  note_positions(node, "", *settings, complaints);
  settings->script = top->text("script");
  settings->model = top->text("model");
  settings->root = top->text("root");
  settings->precision = top.word<Settings::Precision>("precision", {"fp16", "bf16", "fp8"});
  read_sizes(SpelledSection(top->section("sizes")), settings->sizes);
  read_parallel(SpelledSection(top->section("parallel")), settings->parallel);
  read_batch(SpelledSection(top->section("batch")), settings->batch);
  read_optimizer(SpelledSection(top->section("optimizer")), settings->optimizer);
  read_activations(SpelledSection(top->section("activations")), settings->activations);
  settings->flash_attention = top->boolean("flash_attention");
  read_train(SpelledSection(top->section("train")), settings->train);
  read_data(SpelledSection(top->section("data")), settings->data);
  settings->data_index = top->text("data_index");
  settings->tokenizer = top->text("tokenizer");
  settings->load = top->text("load");
  settings->save_interval = top.number("save_interval", 1);
  settings->resume = top.word<Settings::Resume>("resume", {"none", "auto"});
  if (auto words = top->words("extra_args")) settings->extra_args = *words;
  top->finish();
  return settings;
}

}  // namespace megalaunch
