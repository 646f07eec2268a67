#include "launcher/results/printed_arguments.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <vector>

namespace megalaunch {
namespace {

using Settings = std::map<std::string, std::string, std::less<>>;

/// The arguments that are kept; logs have hundreds.
constexpr std::array<std::string_view, 23> kWanted{"bf16",
                                                   "context_parallel_size",
                                                   "cpu_offloading",
                                                   "ffn_hidden_size",
                                                   "fp16",
                                                   "fp8",
                                                   "fp8_format",
                                                   "global_batch_size",
                                                   "group_query_attention",
                                                   "hidden_size",
                                                   "micro_batch_size",
                                                   "num_attention_heads",
                                                   "num_layers",
                                                   "num_layers_per_virtual_pipeline_stage",
                                                   "num_query_groups",
                                                   "padded_vocab_size",
                                                   "pipeline_model_parallel_size",
                                                   "recompute_activations",
                                                   "recompute_granularity",
                                                   "save",
                                                   "seq_length",
                                                   "swiglu",
                                                   "tensor_model_parallel_size"};

bool is_wanted(std::string_view name) {
  return name == "world_size" || name == "tensorboard_dir" ||
         std::ranges::binary_search(kWanted, name);
}

bool is_name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

template <class Integer>
std::optional<Integer> integer(std::string_view text) {
  Integer value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string_view get(const Settings& settings, std::string_view name) {
  const auto found = settings.find(name);
  return found == settings.end() ? std::string_view{} : std::string_view(found->second);
}

bool is_given(std::string_view value) {
  return !value.empty() && value != "None" && value != "False";
}

template <class Integer>
void take(const Settings& settings, std::string_view name, std::optional<Integer>& value) {
  if (const auto number = integer<Integer>(get(settings, name))) value = number;
}

ModelSize size_from(const Settings& settings) {
  ModelSize size;
  const auto take_size = [&](std::string_view name, std::int64_t& value) {
    value = integer<std::int64_t>(get(settings, name)).value_or(0);
  };
  take_size("num_layers", size.layers);
  take_size("hidden_size", size.hidden);
  take_size("ffn_hidden_size", size.ffn);
  take_size("num_attention_heads", size.heads);
  take_size("padded_vocab_size", size.vocabulary);
  size.query_groups = size.heads;
  if (is_given(get(settings, "group_query_attention")))
    take_size("num_query_groups", size.query_groups);
  size.gated = is_given(get(settings, "swiglu"));
  return size;
}

std::string precision_from(const Settings& settings) {
  if (is_given(get(settings, "fp8")) || is_given(get(settings, "fp8_format"))) return "fp8";
  if (is_given(get(settings, "bf16"))) return "bf16";
  if (is_given(get(settings, "fp16"))) return "fp16";
  return {};
}

std::string activations_from(const Settings& settings) {
  const std::string_view granularity = get(settings, "recompute_granularity");
  if (is_given(granularity)) return std::string(granularity);
  if (is_given(get(settings, "recompute_activations"))) return "selective";
  if (is_given(get(settings, "cpu_offloading"))) return "offload";
  return settings.contains("micro_batch_size")
             ? "none"
             : "";  // only a whole list or command says so by its silence
}

RunRecord record_from(const Settings& settings) {
  RunRecord record;
  if (settings.empty()) return record;
  for (const std::string_view path : {get(settings, "save"), get(settings, "tensorboard_dir")})
    if (record.name.empty()) record = record_from_run_name(path);
  const ModelSize size = size_from(settings);
  const KnownModel* known = find_known_model(size);
  if (known == nullptr) known = find_known_model(record.model);
  if (known != nullptr) record.model = known->name;
  if (size.complete()) record.size = size;
  if (const std::string precision = precision_from(settings); !precision.empty())
    record.precision = precision;
  take(settings, "world_size", record.gpus);
  take(settings, "tensor_model_parallel_size", record.tp);
  take(settings, "pipeline_model_parallel_size", record.pp);
  take(settings, "context_parallel_size", record.cp);
  take(settings, "micro_batch_size", record.mbs);
  take(settings, "global_batch_size", record.gbs);
  take(settings, "seq_length", record.seq);
  take(settings, "num_layers_per_virtual_pipeline_stage", record.virtual_stage_layers);
  if (std::string word = activations_from(settings); !word.empty())
    record.activations = std::move(word);
  return record;
}

std::vector<std::string_view> words(std::string_view line) {
  std::vector<std::string_view> result;
  while (!line.empty()) {
    const std::size_t start = std::min(line.find_first_not_of(" \t\r\n"), line.size());
    const std::size_t end = std::min(line.find_first_of(" \t\r\n", start), line.size());
    if (end > start) result.push_back(line.substr(start, end - start));
    line.remove_prefix(end);
  }
  return result;
}

}  // namespace

bool PrintedArguments::feed(std::string_view line) {
  return feed_list_entry(line) || feed_command_line(line);
}

bool PrintedArguments::feed_list_entry(std::string_view line) {
  const std::size_t dots = line.find(" ..");
  if (dots == line.npos) return false;
  std::size_t start = dots;
  while (start > 0 && is_name_character(line[start - 1])) --start;
  const std::string_view name = line.substr(start, dots - start);
  std::string_view value =
      line.substr(std::min(line.find_first_not_of('.', dots + 1), line.size()));
  value = value.substr(0, value.find_last_not_of(" \r\n") + 1);
  if (!value.starts_with(' ') || !is_wanted(name)) return false;
  listed_.insert_or_assign(std::string(name), std::string(value.substr(1)));
  return true;
}

bool PrintedArguments::feed_command_line(std::string_view line) {
  if (line.find("--micro-batch-size") == line.npos) return false;
  const auto all = words(line);
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (!all[i].starts_with("--")) continue;
    std::string name(all[i].substr(2));
    std::ranges::replace(name, '-', '_');
    const bool has_value = i + 1 < all.size() && !all[i + 1].starts_with("--");
    if (is_wanted(name))
      commanded_.insert_or_assign(std::move(name), has_value ? std::string(all[i + 1]) : "True");
  }
  return true;
}

RunRecord PrintedArguments::record() const {
  RunRecord record = record_from(listed_);
  record.complete_from(record_from(commanded_));
  return record;
}

RunRecord record_from_run_name(std::string_view text) {
  RunRecord record;
  std::size_t start = text.npos;
  constexpr std::string_view kPrefixes[] = {"pretrain-mcore-", "finetune-mcore-"};
  for (const std::string_view prefix : kPrefixes) {
    start = text.find(prefix);
    if (start != text.npos) break;
  }
  if (start == text.npos) return record;
  std::string_view name = text.substr(start);
  name = name.substr(0, name.find_first_of("/ \t\r\n\"'"));
  if (const std::size_t last = name.find("-wi-");
      last != name.npos)  // a TensorBoard directory appends a time
    name = name.substr(0, name.find_first_not_of("0123456789", last + 4));

  /// What follows "-key-" up to the next '-'.
  const auto value = [&](std::string_view key) {
    const std::size_t at = name.find(key);
    if (at == name.npos) return std::string_view{};
    const std::string_view rest = name.substr(at + key.size());
    return rest.substr(0, rest.find('-'));
  };
  record.mbs = integer<std::int64_t>(value("-bs-"));
  record.gbs = integer<std::int64_t>(value("-gbs-"));
  record.seq = integer<std::int64_t>(value("-seqlen-"));
  record.tp = integer<int>(value("-tp-"));
  record.pp = integer<int>(value("-pp-"));
  record.cp = integer<int>(value("-cp-"));
  if (!record.gbs || !record.tp) return {};
  record.name = name;
  record.precision = value("-pr-");
  record.activations = activations_word(value("-ac-"));
  const std::string_view model =
      name.substr(kPrefixes[0].size(), name.find("-lr-") - kPrefixes[0].size());
  const KnownModel* known = find_known_model(model);
  record.model = known != nullptr ? known->name : model;
  return record;
}

}  // namespace megalaunch
