#include "launcher/results/iteration_line.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <limits>

#include "env/ascii.h"

namespace megalaunch {
namespace {

constexpr std::string_view kBlanks = " \t";
constexpr std::string_view kDigits = "0123456789";
constexpr int kBarsInPrefix = 4;  // a prefix such as "[Rank 0 | Local Rank 0]" has bars too

std::string_view trim_left(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(kBlanks), text.size()));
  return text;
}

std::string_view trim_right(std::string_view text) {
  return text.substr(0, text.find_last_not_of(kBlanks) + 1);
}

bool equals_ignoring_case(std::string_view a, std::string_view b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) {
           return ascii_lower(x) == ascii_lower(y);
         });
}

/// The number that `text` starts with, after blanks; what follows it (a unit, an average) is
/// ignored.
template <class Number>
std::optional<Number> leading_number(std::string_view text) {
  text = trim_left(text);
  if (text.starts_with('+')) text.remove_prefix(1);
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc{}) return value;
  return std::nullopt;
}

/// Counts are printed as "3", by some as "3.0"; a count outside 64 bits is none.
std::optional<std::int64_t> leading_count(std::string_view text) {
  return leading_number<std::int64_t>(text);
}

/// Cuts the digits at the end of `text` off and returns their value.
std::optional<std::int64_t> take_trailing_count(std::string_view& text) {
  text = trim_right(text);
  const std::size_t digits = text.find_last_not_of(kDigits) + 1;
  const auto value = leading_count(text.substr(digits));
  text = trim_right(text.substr(0, digits));
  return value;
}

/// Calls `accept(head)` with what stands before each of the first bars of the line, until it
/// returns true; gives what follows that bar.
template <class Accept>
std::optional<std::string_view> after_bar(std::string_view line, Accept accept) {
  std::size_t from = 0;
  for (int bar = 0; bar < kBarsInPrefix && from < line.size(); ++bar) {
    const void* found = std::memchr(line.data() + from, '|', line.size() - from);
    if (found == nullptr) return std::nullopt;
    const auto at = static_cast<std::size_t>(static_cast<const char*>(found) - line.data());
    if (accept(trim_right(line.substr(0, at)))) return line.substr(at + 1);
    from = at + 1;
  }
  return std::nullopt;
}

/// Calls `field(key, value)` for each `key: value` between bars.
template <class Field>
void for_each_field(std::string_view fields, Field field) {
  while (!fields.empty()) {
    const std::size_t bar = std::min(fields.find('|'), fields.size());
    const std::string_view one = fields.substr(0, bar);
    if (const std::size_t colon = one.find(':'); colon != one.npos)
      field(trim_right(trim_left(one.substr(0, colon))), one.substr(colon + 1));
    fields.remove_prefix(std::min(bar + 1, fields.size()));
  }
}

/// "iteration   12/  100" at the end of `head`, in any capitals. The total tells it from
/// "validation loss at iteration 12".
bool parse_iteration_head(std::string_view head, IterationSample& sample) {
  constexpr std::string_view kWord = "iteration";
  sample = {};
  sample.total_iterations = take_trailing_count(head);
  if (!sample.total_iterations || !head.ends_with('/')) return false;
  head.remove_suffix(1);
  const auto iteration = take_trailing_count(head);
  if (!iteration || head.size() < kWord.size()) return false;
  sample.iteration = *iteration;
  return equals_ignoring_case(head.substr(head.size() - kWord.size()), kWord);
}

/// GPT-NeoX writes "approx flops per GPU: 26.1TFLOPS" with a unit that varies.
std::optional<double> teraflops_with_unit(std::string_view value) {
  const auto number = leading_number<double>(value);
  const std::size_t unit = value.find_first_of("KMGTP");
  if (!number || unit == value.npos) return std::nullopt;
  switch (value[unit]) {
    case 'K':
      return *number * 1e-9;
    case 'M':
      return *number * 1e-6;
    case 'G':
      return *number * 1e-3;
    case 'T':
      return number;
    default:
      return *number * 1e3;
  }
}

bool is_tokens_per_second_per_gpu(std::string_view key) {
  for (const std::string_view known :
       {"tokens/sec/gpu", "tokens/s/gpu", "tokens-per-second-per-gpu", "tokens per gpu per second",
        "tokens per second per gpu"})
    if (equals_ignoring_case(key, known)) return true;
  return false;
}

void parse_iteration_field(std::string_view key, std::string_view value, IterationSample& sample) {
  if (key == "elapsed time per iteration (ms)" || key == "elapsed time per iteration") {
    sample.ms_per_iteration = leading_number<double>(value);
  } else if (key == "elapsed time per iteration (s)") {
    sample.ms_per_iteration = leading_number<double>(value);
    if (sample.ms_per_iteration) *sample.ms_per_iteration *= 1000;
  } else if (key == "throughput per GPU (TFLOP/s/GPU)" || key == "TFLOPs") {
    sample.tflops_per_gpu = leading_number<double>(value);
  } else if (key == "approx flops per GPU") {
    sample.tflops_per_gpu = teraflops_with_unit(value);
  } else if (key == "consumed samples") {
    sample.consumed_samples = leading_count(value);
  } else if (key == "learning rate") {
    sample.learning_rate = leading_number<double>(value);
  } else if (key == "global batch size" || key == "gloabl batch size") {  // so spelled by ModelLink
    sample.global_batch = leading_count(value);
  } else if (key == "lm loss" || key == "lm_loss") {
    sample.lm_loss = leading_number<double>(value);
  } else if (key == "loss") {
    if (!sample.lm_loss) sample.lm_loss = leading_number<double>(value);
  } else if (key == "loss scale") {
    sample.loss_scale = leading_number<double>(value);
  } else if (key == "grad norm") {
    sample.grad_norm = leading_number<double>(value);
  } else if (key == "number of skipped iterations") {
    sample.skipped_iterations = leading_count(value);
  } else if (key == "number of nan iterations") {
    sample.nan_iterations = leading_count(value);
  } else if (is_tokens_per_second_per_gpu(key)) {
    sample.tokens_per_second_per_gpu = leading_number<double>(value);
  }
}

std::optional<std::int64_t> count_after(std::string_view text, std::string_view words) {
  const std::size_t at = text.rfind(words);
  return at == text.npos ? std::nullopt : leading_count(text.substr(at + words.size()));
}

}  // namespace

double MemorySample::peak_mib() const {
  double peak = 0;
  for (const auto& value :
       {allocated_mib, max_allocated_mib, reserved_mib, max_reserved_mib, device_mib})
    peak = std::max(peak, value.value_or(0));
  return peak;
}

std::optional<IterationSample> parse_iteration_line(std::string_view line) {
  IterationSample sample;
  const auto fields =
      after_bar(line, [&](std::string_view head) { return parse_iteration_head(head, sample); });
  if (!fields) return std::nullopt;
  for_each_field(*fields, [&](std::string_view key, std::string_view value) {
    parse_iteration_field(key, value, sample);
  });
  return sample;
}

std::optional<MemorySample> parse_memory_line(std::string_view line) {
  std::string_view head;
  const auto fields = after_bar(line, [&](std::string_view text) {
    head = text;
    return text.ends_with("memory (MB)");
  });
  if (!fields) return std::nullopt;
  MemorySample sample;
  if (const auto rank = count_after(head, "[Rank ");
      rank && *rank >= 0 && *rank <= std::numeric_limits<int>::max())
    sample.rank = static_cast<int>(*rank);
  sample.iteration = count_after(head, "after ");
  for_each_field(*fields, [&](std::string_view key, std::string_view value) {
    const auto mib = leading_number<double>(value);
    if (key == "allocated") sample.allocated_mib = mib;
    if (key == "max allocated") sample.max_allocated_mib = mib;
    if (key == "reserved") sample.reserved_mib = mib;
    if (key == "max reserved") sample.max_reserved_mib = mib;
    if (key == "total device memory used") sample.device_mib = mib;
  });
  return sample;
}

std::optional<MemoryEstimate> parse_memory_estimate_line(std::string_view line) {
  constexpr std::string_view kWords = "Theoretical memory footprints: weight and optimizer=";
  const std::size_t at = line.find(kWords);
  if (at == line.npos) return std::nullopt;
  const std::string_view rest = line.substr(at + kWords.size());
  const auto number_after = [&](std::string_view words) -> std::optional<double> {
    const std::size_t found = rest.find(words);
    return found == rest.npos ? std::nullopt
                              : leading_number<double>(rest.substr(found + words.size()));
  };
  const auto weight = leading_number<double>(rest);
  if (!weight) return std::nullopt;
  return MemoryEstimate{*weight, number_after("activation="), number_after("total=")};
}

}  // namespace megalaunch
