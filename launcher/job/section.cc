#include "launcher/job/section.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <numeric>
#include <tuple>

namespace megalaunch {
namespace {

const YamlNode kEmptyMap{YamlNode::Kind::kMap, {}, {}, false, {}, {}};

/// Edit distance with swaps of neighbours counted once.
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<size_t>> d(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) d[i][0] = i;
  for (size_t j = 0; j <= b.size(); ++j) d[0][j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t substitution = d[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      d[i][j] = std::min({substitution, d[i - 1][j] + 1, d[i][j - 1] + 1});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
    }
  }
  return d[a.size()][b.size()];
}

}  // namespace

Section::Section(const YamlNode& map, std::string name, std::vector<Complaint>& complaints)
    : map_(&map), name_(std::move(name)), complaints_(&complaints) {
  if (map.is_map() || map.is_null()) return;
  complaints.push_back(
      {map.place, name_,
       fmt::format("expected a map ('key: value' lines), got {}", kind_name(map))});
  map_ = &kEmptyMap;
}

const YamlNode* Section::node(std::string_view key) {
  if (std::find(known_.begin(), known_.end(), key) == known_.end()) known_.emplace_back(key);
  const YamlNode* found = map_->find(key);
  return found != nullptr && !found->is_null() ? found : nullptr;
}

Section Section::section(std::string_view key) {
  const YamlNode* found = node(key);
  return {found != nullptr ? *found : kEmptyMap, full_name(key), *complaints_};
}

const YamlNode* Section::scalar(std::string_view key, std::string_view wanted) {
  const YamlNode* found = node(key);
  if (found == nullptr || found->kind == YamlNode::Kind::kScalar) return found;
  complain(key, fmt::format("expected {}, got {}", wanted, kind_name(*found)));
  return nullptr;
}

std::optional<std::string> Section::text(std::string_view key) {
  const YamlNode* found = scalar(key, "text");
  if (found == nullptr) return std::nullopt;
  if (!found->text.empty()) return found->text;
  complain(key, "the text is empty");
  return std::nullopt;
}

std::optional<bool> Section::boolean(std::string_view key) {
  const YamlNode* found = scalar(key, "true or false");
  if (found == nullptr) return std::nullopt;
  if (found->text == "true") return true;
  if (found->text == "false") return false;
  complain(key, fmt::format("'{}' is not true or false", found->text));
  return std::nullopt;
}

std::optional<int> Section::integer(std::string_view key, int min, int max) {
  const YamlNode* found = scalar(key, "a whole number");
  if (found == nullptr) return std::nullopt;
  const auto value = parse_integer(found->text);
  if (!value) {
    complain(key, fmt::format("'{}' is not a whole number", found->text));
  } else if (*value < min || *value > max) {
    complain(key, max == 1 << 30 ? fmt::format("{} is too small; the least is {}", *value, min)
                                 : fmt::format("{} is not between {} and {}", *value, min, max));
  } else {
    return static_cast<int>(*value);
  }
  return std::nullopt;
}

std::optional<std::chrono::milliseconds> Section::duration(std::string_view key) {
  const YamlNode* found = scalar(key, "a time such as 30s");
  if (found == nullptr) return std::nullopt;
  const auto value = parse_duration(found->text);
  if (!value)
    complain(key, fmt::format("'{}' is not a time; write a number and a unit: 500ms, 30s, 10m, 2h",
                              found->text));
  return value;
}

std::optional<std::uint64_t> Section::size(std::string_view key) {
  const YamlNode* found = scalar(key, "a size such as 1GiB");
  if (found == nullptr) return std::nullopt;
  const auto value = parse_size(found->text);
  if (!value)
    complain(key, fmt::format("'{}' is not a size; write a number and a unit: 500MB, 64MiB, 1GiB",
                              found->text));
  return value;
}

std::optional<std::vector<std::string>> Section::words(std::string_view key) {
  const YamlNode* found = node(key);
  if (found == nullptr) return std::nullopt;
  if (found->kind != YamlNode::Kind::kList) {
    complain(key, fmt::format("expected a list, got {}; no shell splits it: write each word as an "
                              "item, [a, b, \"c d\"]",
                              kind_name(*found)));
    return std::nullopt;
  }
  std::vector<std::string> words;
  for (const YamlNode& item : found->items) {
    if (item.kind == YamlNode::Kind::kScalar) {
      words.push_back(item.text);
    } else {
      complaints_->push_back(
          {item.place, full_name(key),
           fmt::format("item {} must be text, not {}; quote it if it is meant so", words.size() + 1,
                       kind_name(item))});
      return std::nullopt;
    }
  }
  return words;
}

std::optional<std::map<std::string, std::string>> Section::text_map(std::string_view key) {
  const YamlNode* found = node(key);
  if (found == nullptr) return std::nullopt;
  if (!found->is_map()) {
    complain(key, fmt::format("expected a map ('NAME: value' lines), got {}", kind_name(*found)));
    return std::nullopt;
  }
  std::map<std::string, std::string> values;
  for (const auto& entry : found->entries) {
    if (entry.value.kind == YamlNode::Kind::kScalar) {
      values.emplace(entry.name, entry.value.text);
    } else if (entry.value.is_null()) {
      values.emplace(entry.name, "");
    } else {
      complaints_->push_back({entry.value.place, fmt::format("{}.{}", full_name(key), entry.name),
                              fmt::format("expected text, got {}", kind_name(entry.value))});
    }
  }
  return values;
}

std::optional<size_t> Section::choice(std::string_view key,
                                      std::initializer_list<std::string_view> choices) {
  const YamlNode* found = scalar(key, "a word");
  if (found == nullptr) return std::nullopt;
  const auto chosen = std::find(choices.begin(), choices.end(), found->text);
  if (chosen != choices.end()) return static_cast<size_t>(chosen - choices.begin());
  complain(key, fmt::format("'{}' is none of {}", found->text, fmt::join(choices, ", ")));
  return std::nullopt;
}

bool Section::is_auto(std::string_view key) {
  const YamlNode* found = node(key);
  return found == nullptr || (found->kind == YamlNode::Kind::kScalar && found->text == "auto");
}

void Section::complain(std::string_view key, std::string message) {
  const YamlNode* found = map_->find(key);
  complaints_->push_back(
      {found != nullptr ? found->place : map_->place, full_name(key), std::move(message)});
}

void Section::finish() {
  for (const auto& entry : map_->entries) {
    if (std::find(known_.begin(), known_.end(), entry.name) != known_.end()) continue;
    const std::string_view nearest = nearest_word(entry.name, known_);
    const std::string hint = nearest.empty()
                                 ? fmt::format("known here: {}", fmt::join(known_, ", "))
                                 : fmt::format("did you mean '{}'?", nearest);
    complaints_->push_back({entry.place, full_name(entry.name),
                            fmt::format("unknown key '{}'; {}", entry.name, hint)});
  }
}

std::string Section::full_name(std::string_view key) const {
  if (name_.empty()) return std::string(key);
  return key.empty() ? name_ : fmt::format("{}.{}", name_, key);
}

std::optional<std::int64_t> parse_integer(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<std::chrono::milliseconds> parse_duration(std::string_view text) {
  const size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  const auto number = parse_integer(text.substr(0, digits));
  const std::string_view unit = text.substr(digits);
  constexpr std::int64_t kYear = std::int64_t{366} * 24 * 3600 * 1000;
  std::int64_t scale = 0;
  if (unit == "ms") scale = 1;
  if (unit == "s") scale = 1000;
  if (unit == "m") scale = 60 * 1000;
  if (unit == "h") scale = 3600 * 1000;
  if (!number || scale == 0 || *number > kYear / scale) return std::nullopt;
  return std::chrono::milliseconds(*number * scale);
}

std::optional<std::uint64_t> parse_size(std::string_view text) {
  const size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  const auto number = parse_integer(text.substr(0, digits));
  const std::string_view unit = text.substr(digits);
  constexpr std::uint64_t kMost = 1ULL << 60;
  std::uint64_t scale = 0;
  for (const auto& [binary, decimal, power] :
       {std::tuple{"KiB", "kB", 1}, {"MiB", "MB", 2}, {"GiB", "GB", 3}, {"TiB", "TB", 4}}) {
    std::uint64_t binary_scale = 1, decimal_scale = 1;
    for (int i = 0; i < power; ++i) binary_scale *= 1024, decimal_scale *= 1000;
    if (unit == binary) scale = binary_scale;
    if (unit == decimal) scale = decimal_scale;
  }
  if (!number || scale == 0 || static_cast<std::uint64_t>(*number) > kMost / scale)
    return std::nullopt;
  return static_cast<std::uint64_t>(*number) * scale;
}

std::string_view nearest_word(std::string_view word, const std::vector<std::string>& candidates) {
  std::string_view best;
  size_t best_distance = std::max<size_t>(1, word.size() / 3) + 1;
  for (const std::string& candidate : candidates) {
    if (word.size() > 64) break;
    const size_t distance = edit_distance(word, candidate);
    if (distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

}  // namespace megalaunch
