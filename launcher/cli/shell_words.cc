#include "launcher/cli/shell_words.h"

namespace megalaunch {

std::string shell_word(const std::string& word) {
  constexpr const char* kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-";
  if (!word.empty() && word.find_first_not_of(kPlain) == std::string::npos) return word;
  std::string quoted = "'";
  for (const char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

std::string shell_lines(const std::vector<std::string>& words) {
  std::string text;
  for (size_t i = 0; i < words.size(); ++i) {
    const bool new_line = i > 0 && words[i].starts_with("--");
    text += (i == 0 ? "" : new_line ? " \\\n  " : " ") + shell_word(words[i]);
  }
  return text;
}

}  // namespace megalaunch
