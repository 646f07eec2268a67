#pragma once

#include <algorithm>
#include <string>
#include <string_view>

namespace megalaunch {

/// A to Z in lower case; whatever the locale, all other bytes (UTF-8 too) as they are.
inline char ascii_lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

inline std::string ascii_lower(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(),
                 [](char c) { return ascii_lower(c); });
  return result;
}

}  // namespace megalaunch
