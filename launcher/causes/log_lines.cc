#include "launcher/causes/log_lines.h"

#include <algorithm>

#include "launcher/causes/scan.h"

namespace megalaunch {
namespace {

using namespace scan;

/// tqdm's " 13/620 [01:07<50:20,  4.98s/it]", not at its start and not one that loads or converts
/// something.
bool is_training_bar(std::string_view text) {
  const size_t bar = text.find("%|");
  if (bar == text.npos || text.find("?it/s") != text.npos || text.find(" 0/") != text.npos)
    return false;
  if (text.find("s/it") == text.npos && text.find("it/s") == text.npos) return false;
  const size_t name = text.find_first_not_of(" 0123456789");
  if (name >= bar) return true;
  for (const std::string_view training :
       {"Train", "train", "Epoch", "epoch", "Step", "step", "Iter", "iter"})
    if (text.substr(name).starts_with(training)) return true;
  return false;
}

/// Where a progress bar ends: it has no line break, and the next message follows it on the same
/// line. The text's size when there is none.
size_t after_bar(std::string_view text) {
  for (const std::string_view speed : {"s/it", "it/s"})
    if (const size_t at = text.find(speed); at != text.npos)
      if (const size_t close = text.find(']', at); close != text.npos) return close + 1;
  return text.size();
}

/// What a collector of unknown habits puts before a line: words in brackets, with digits, or of no
/// letters at all; not a sentence.
bool is_foreign_prefix(std::string_view text) {
  while (!text.empty()) {
    const size_t end = std::min(text.find(' '), text.size());
    const std::string_view token = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const bool bracketed = token.starts_with('[') && token.ends_with(']');
    if (!bracketed && std::any_of(token.begin(), token.end(), letter) &&
        std::none_of(token.begin(), token.end(), digit))
      return false;
  }
  return true;
}

bool indented(std::string_view text) {
  return text.starts_with("  ") || text.starts_with('\t') || is_boxed(text);
}

}  // namespace

std::vector<LogLine> split_log(std::string_view log) {
  std::vector<LogLine> lines;
  size_t number = 1;
  while (!log.empty()) {
    const size_t end = std::min(log.find_first_of("\r\n"), log.size());
    LogLine line;
    line.text = line.whole = log.substr(0, end);
    line.number = number;
    const bool newline = end < log.size() && log[end] == '\n';
    const bool both = end + 1 < log.size() && log[end] == '\r' && log[end + 1] == '\n';
    if (newline || both) ++number;
    log.remove_prefix(std::min(end + (both ? 2 : 1), log.size()));
    if (line.text.empty()) continue;
    line.label = take_prefixes(line.text);
    if (const size_t end_of_bar = after_bar(line.text); end_of_bar < line.text.size()) {
      LogLine rest = line;
      rest.text = line.text.substr(end_of_bar);
      line.text = line.text.substr(0, end_of_bar);
      if (LineLabel own = take_prefixes(rest.text); !own.empty()) rest.label = std::move(own);
      lines.push_back(std::move(line));
      line = std::move(rest);
    }
    lines.push_back(std::move(line));
  }
  return lines;
}

bool is_progress(std::string_view text, std::optional<long>* iteration) {
  // Megatron: " iteration      100/    1000 | consumed samples: ..."
  if (const size_t at = text.find("iteration "); at != text.npos) {
    std::string_view rest = text.substr(at + 10);
    take_blanks(rest);
    if (const auto number = take_number(rest)) {
      take_blanks(rest);
      if (take(rest, "/")) {
        if (iteration != nullptr) *iteration = *number;
        return true;
      }
    }
  }
  if (text.find("{'loss':") != text.npos) return true;  // transformers
  return is_training_bar(text);
}

std::string_view bar_count(std::string_view text) {
  if (!is_training_bar(text)) return {};
  const size_t end = text.find(" [", text.find("%|"));
  const size_t start = text.substr(0, end).find_last_of("| ") + 1;
  return text.substr(start, end - start);
}

bool starts_traceback(std::string_view text) {
  return text.find("Traceback (most recent call last)") != text.npos;
}

bool joins_tracebacks(std::string_view text) {
  return text.find("During handling of the above exception") != text.npos ||
         text.find("The above exception was the direct cause") != text.npos;
}

bool is_exception(std::string_view text, bool behind_frames) {
  size_t blanks = 0;
  while (blanks < text.size() && text[blanks] == ' ') ++blanks;
  if (blanks > 4) return false;
  text.remove_prefix(blanks);
  size_t end = 0;
  while (end < text.size() && end < 200 && (word(text[end]) || text[end] == '.')) ++end;
  if (end == 0 || !(letter(text.front()) || text.front() == '_')) return false;
  if (end < text.size() && text[end] != ':') return false;
  if (end + 1 < text.size() && text[end + 1] != ' ') return false;
  const size_t dot = text.substr(0, end).rfind('.');
  const std::string_view module = text.substr(0, dot == text.npos ? 0 : dot);
  const std::string_view name = text.substr(0, end).substr(dot == text.npos ? 0 : dot + 1);
  // How launchers say that a rank failed; the reason stands elsewhere.
  for (const std::string_view echo : {"ChildFailedError", "CalledProcessError",
                                      "ProcessRaisedException", "ProcessExitedException"})
    if (name == echo) return false;
  // Of torch.multiprocessing.spawn; what was raised stands below.
  if (name == "Exception" && end < text.size() &&
      text.find_first_not_of(": ", end) == std::string_view::npos)
    return false;
  for (const std::string_view suffix : {"Error", "Exception", "KeyboardInterrupt", "SystemExit",
                                        "StopIteration", "Failure", "Timeout", "Exit", "Closed"})
    if (name.ends_with(suffix) && name.size() > 4)
      return blanks == 0 || end < text.size() || name != suffix;
  // A class of any name: where a module of exceptions or the frames above say what it is.
  const bool capital = !name.empty() && name.front() >= 'A' && name.front() <= 'Z';
  if (!capital || end == text.size()) return false;
  for (const std::string_view of_errors : {"exc", "exceptions", "error", "errors"})
    if (module == of_errors || module.ends_with('.' + std::string(of_errors))) return true;
  return behind_frames && blanks == 0;
}

std::string_view logged_exception(std::string_view text) {
  constexpr size_t kReach = 300;  // of what stands before a message
  const std::string_view start = text.substr(0, kReach);
  size_t level = start.npos;
  for (const std::string_view word :
       {"ERROR", "CRITICAL", "FATAL", "Uncaught ", "Unhandled ", "uncaught ", "unhandled "})
    level = std::min(level, start.find(word));
  for (size_t at = 1; at < start.size(); ++at) {
    if (!(start[at] >= 'A' && start[at] <= 'Z') || word(start[at - 1])) continue;
    if (at < level && !(start[at - 1] == ' ' && is_foreign_prefix(start.substr(0, at)))) continue;
    if (const std::string_view rest = text.substr(at);
        rest.find(": ") != rest.npos && is_exception(rest))
      return rest;
  }
  return {};
}

std::string_view relayed_exception(std::string_view text) {
  constexpr std::string_view kRelay = "TaskError(";
  const size_t at = text.find(kRelay);
  if (at == text.npos) return {};
  text.remove_prefix(at + kRelay.size());
  text = text.substr(0, text.find(')'));
  return is_exception(text) ? text : std::string_view{};
}

bool is_boxed(std::string_view text) {
  for (const std::string_view edge : {"│", "╭", "╰"})
    if (text.starts_with(edge)) return true;
  return false;
}

bool is_nccl_line(std::string_view text) {
  constexpr size_t kReach = 128;  // of the place and process before it
  const std::string_view start = text.substr(0, kReach);
  return start.find("NCCL WARN ") != start.npos || start.find("NCCL INFO ") != start.npos;
}

std::string_view nccl_process(std::string_view text) {
  if (text.find(" NCCL ") == text.npos) return {};
  const size_t host = text.substr(0, 128).find(':');
  if (host == text.npos || text.substr(0, host).find(' ') != text.npos) return {};
  std::string_view rest = text.substr(host + 1);
  if (!take_number(rest)) return {};
  const std::string_view process = text.substr(0, text.size() - rest.size());
  return take(rest, ":") && take_number(rest) ? process : std::string_view{};
}

bool is_nccl_failing(std::string_view text) {
  constexpr std::string_view kInfo = "NCCL INFO ";
  const size_t at = text.find(kInfo);
  if (at == text.npos) return false;
  text.remove_prefix(at + kInfo.size());
  const size_t line = text.find(".cc:");
  if (line == text.npos || text.substr(0, line).find(' ') != text.npos) return false;
  text.remove_prefix(line + 4);
  constexpr int kRemoteError = 6;  // 7: still in progress
  if (!take_number(text) || !take(text, " -> ")) return false;
  const auto result = take_number(text);
  return result && *result > 0 && *result <= kRemoteError;
}

std::vector<std::string> lines_that_matter(const std::vector<LogLine>& lines, size_t index,
                                           size_t limit) {
  const LineLabel& label = lines[index].label;
  constexpr size_t kReach = 2000;  // lines of other ranks may lie in between
  // Back to the header of the traceback, and through the chain before it.
  size_t first = index;
  bool in_traceback = false;
  for (size_t back = index; back-- > 0 && index - back < kReach;) {
    if (!(lines[back].label == label)) continue;
    const std::string_view text = lines[back].text;
    if (starts_traceback(text)) {
      first = back;
      in_traceback = true;
    } else if (in_traceback && !joins_tracebacks(text) && !is_exception(text) && !indented(text)) {
      break;
    } else if (!in_traceback && is_progress(text)) {
      break;
    } else if (!in_traceback && !indented(text) && back + 40 < index) {
      break;
    }
  }
  // A chain that goes on behind the line, and the further lines of its message.
  size_t last = index;
  for (size_t ahead = index + 1; ahead < lines.size() && ahead - index < 60; ++ahead) {
    if (!(lines[ahead].label == label)) continue;
    const std::string_view text = lines[ahead].text;
    const bool goes_on = joins_tracebacks(text) || (in_traceback && indented(text)) ||
                         (last != index && starts_traceback(text)) ||
                         (last > index && is_exception(text));
    if (!goes_on) break;
    last = ahead;
  }
  std::vector<std::string> result;
  for (size_t i = first; i <= last; ++i)
    if (lines[i].label == label) result.emplace_back(lines[i].text);
  if (result.size() > limit) {
    const auto cut = static_cast<std::ptrdiff_t>(limit / 2);
    const auto dropped = result.size() - 2 * (limit / 2);
    result.erase(result.begin() + cut, result.end() - cut);
    result.insert(result.begin() + cut, "[... " + std::to_string(dropped) + " lines ...]");
  }
  return result;
}

}  // namespace megalaunch
