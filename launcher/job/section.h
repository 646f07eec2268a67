#pragma once

#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "launcher/job/document.h"

namespace megalaunch {

/// Reads one map of a document by its keys and complains about everything else: wrong types, bad
/// values, and, in finish(), keys that nobody asked for. Every reader returns nothing both for a
/// key that is absent and for a value that it complained about, so that a caller writes `if (auto n
/// = section.integer("n", 1)) target = *n;` and all complaints about a file are found in one go. A
/// key without a value ('~') counts as absent. The node and the list outlive it.
class Section {
 public:
  /// `name` is put in front of the keys in complaints ("launch" gives "launch.nodes"); empty for
  /// the top.
  Section(const YamlNode& map, std::string name, std::vector<Complaint>& complaints);

  /// The value as written, or null when absent. Marks the key as known.
  const YamlNode* node(std::string_view key);
  /// The map under `key`; complains when it is something else. An absent one reads as an empty map.
  Section section(std::string_view key);

  std::optional<std::string> text(std::string_view key);  ///< never empty
  std::optional<bool> boolean(std::string_view key);      ///< true or false
  std::optional<int> integer(std::string_view key, int min, int max = 1 << 30);
  std::optional<std::chrono::milliseconds> duration(std::string_view key);  ///< 500ms, 5s, 10m, 2h
  std::optional<std::uint64_t> size(std::string_view key);                  ///< 500MB, 64MiB, 1GiB
  std::optional<std::vector<std::string>> words(std::string_view key);      ///< a list of texts
  std::optional<std::map<std::string, std::string>> text_map(std::string_view key);
  /// The position of the value in `choices`.
  std::optional<size_t> choice(std::string_view key,
                               std::initializer_list<std::string_view> choices);

  /// Whether the value is the plain word `auto`, or absent: what the reader's default stands for.
  bool is_auto(std::string_view key);

  void complain(std::string_view key, std::string message);
  /// Complains about every key that no reader asked for, with the known key that looks most like
  /// it.
  void finish();

  std::string full_name(std::string_view key) const;
  const Place& place() const { return map_->place; }

 private:
  const YamlNode* scalar(std::string_view key, std::string_view wanted);

  const YamlNode* map_;
  std::string name_;
  std::vector<Complaint>* complaints_;
  std::vector<std::string> known_;
};

/// "500ms", "5s", "10m", "2h"; nothing when it is not of that form or over a year.
std::optional<std::chrono::milliseconds> parse_duration(std::string_view text);
/// Bytes of "64KiB", "1GiB", "500MB"; nothing when it is not of that form or over an exbibyte.
std::optional<std::uint64_t> parse_size(std::string_view text);
/// A decimal whole number of the whole text; nothing when it is not one or does not fit.
std::optional<std::int64_t> parse_integer(std::string_view text);
/// The candidate that `word` is most likely a misspelling of, or empty when none is close.
std::string_view nearest_word(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace megalaunch
