#include "launcher/results/checkpoint_line.h"

#include <algorithm>
#include <charconv>
#include <cstring>

namespace megalaunch {
namespace {

/// Where the words must have begun: behind the timestamps and ranks of a logger, before a path.
constexpr std::size_t kPlace = 160;

/// What follows `words`, when they are near the line's beginning.
std::optional<std::string_view> after(std::string_view line, std::string_view words) {
  const std::string_view begin = line.substr(0, kPlace + words.size());
  const void* found = ::memmem(begin.data(), begin.size(), words.data(), words.size());
  if (found == nullptr) return std::nullopt;
  const auto at = static_cast<std::size_t>(static_cast<const char*>(found) - line.data());
  return line.substr(at + words.size());
}

/// Cuts a number off the front, and the blanks before it.
std::optional<std::int64_t> take_count(std::string_view& text) {
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || value < 0) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return value;
}

}  // namespace

std::optional<std::int64_t> parse_checkpoint_line(std::string_view line) {
  if (auto rest = after(line, "successfully saved checkpoint ")) {
    for (const std::string_view words : {"from iteration ", "at iteration "})
      if (rest->starts_with(words)) {
        rest->remove_prefix(words.size());
        return take_count(*rest);
      }
    return std::nullopt;
  }
  if (auto rest = after(line, "Checkpoint global_step")) {
    const auto step = take_count(*rest);
    return rest->starts_with(" is ready now") ? step : std::nullopt;
  }
  return std::nullopt;
}

}  // namespace megalaunch
