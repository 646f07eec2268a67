#include "launcher/causes/wrapped_lines.h"

#include <algorithm>
#include <set>

#include "launcher/causes/line_label.h"
#include "launcher/causes/scan.h"

namespace megalaunch {
namespace {

std::string_view take_line(std::string_view& log) {
  const size_t end = std::min(log.find('\n'), log.size());
  const std::string_view line = log.substr(0, end);
  log.remove_prefix(std::min(end + 1, log.size()));
  return line;
}

size_t width_of(std::string_view log) {
  size_t width = 0;
  while (!log.empty()) width = std::max(width, take_line(log).size());
  return width;
}

/// `line` is as long as the terminal was wide, and `next` does not begin anew.
bool goes_on(std::string_view line, std::string_view next, size_t width) {
  if (line.size() != width || line.ends_with("  ") || next.empty()) return false;
  std::string_view rest = next;
  take_prefixes(rest);
  return rest.size() == next.size() && next.front() != '[';
}

bool within_a_word(std::string_view line, std::string_view next) {
  return scan::letter(line.back()) && next.front() >= 'a' && next.front() <= 'z';
}

/// Lines of the same length are not rare; that several break off in the middle of a word is.
bool is_wrapped(std::string_view log, size_t width) {
  constexpr size_t kLines = 4, kWords = 2, kStart = 4;
  size_t broken = 0;
  std::set<std::string_view> words;
  for (std::string_view line = take_line(log); !log.empty();) {
    const std::string_view next = take_line(log);
    if (goes_on(line, next, width)) {
      ++broken;
      if (within_a_word(line, next)) words.insert(next.substr(0, kStart));
      if (broken >= kLines && words.size() >= kWords) return true;
    }
    line = next;
  }
  return false;
}

}  // namespace

std::optional<std::string> join_wrapped_lines(std::string_view log) {
  constexpr size_t kNarrow = 60, kWide = 400;
  const size_t width = width_of(log);
  if (width < kNarrow || width > kWide || !is_wrapped(log, width)) return std::nullopt;
  std::string result;
  size_t joined = 0;
  for (std::string_view line = take_line(log);;) {
    result += line;
    const bool last = log.empty();
    const std::string_view next = take_line(log);
    if (!last && goes_on(line, next, width)) {
      ++joined;
    } else {
      // Empty lines stand for those that were joined.
      result.append(joined + 1, '\n');
      joined = 0;
    }
    if (last) return result;
    line = next;
  }
}

}  // namespace megalaunch
