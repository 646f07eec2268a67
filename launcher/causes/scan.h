#pragma once

#include <charconv>
#include <optional>
#include <string_view>

/// Steps over the beginning of a line: each `take` removes what it knows from the front of the
/// text, or leaves the text alone and says so.
namespace megalaunch::scan {

inline bool digit(char c) {
  return c >= '0' && c <= '9';
}
inline bool letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
inline bool word(char c) {
  return digit(c) || letter(c) || c == '_';
}

/// The number at the front of `text`, taken off it.
inline std::optional<int> take_number(std::string_view& text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || value < 0) return std::nullopt;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return value;
}

inline bool take(std::string_view& text, std::string_view start) {
  if (!text.starts_with(start)) return false;
  text.remove_prefix(start.size());
  return true;
}

/// What has the shape of `pattern`: a 0 there is any digit, a ? any character.
inline bool take_shape(std::string_view& text, std::string_view pattern) {
  if (text.size() < pattern.size()) return false;
  for (size_t i = 0; i < pattern.size(); ++i)
    if (pattern[i] == '0' ? !digit(text[i]) : pattern[i] != '?' && pattern[i] != text[i])
      return false;
  text.remove_prefix(pattern.size());
  return true;
}

inline void take_blanks(std::string_view& text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
}

}  // namespace megalaunch::scan
