#include "launcher/torchrun/failure_text.h"

#include <time.h>

#include <algorithm>
#include <vector>

namespace megalaunch {
namespace {

constexpr size_t kWidest = 60;

/// As Python's subprocess has it: -9 for SIGKILL.
int python_code(const RankEnd& end) {
  if (const auto* exited = std::get_if<Exited>(&end)) return exited->code;
  if (const auto* signaled = std::get_if<Signaled>(&end)) return -signaled->signal;
  return 1;
}

std::string local_time(WallTime time) {
  const time_t since_1970 = std::chrono::system_clock::to_time_t(time);
  tm fields{};
  ::localtime_r(&since_1970, &fields);
  char text[32];
  ::strftime(text, sizeof text, "%Y-%m-%d_%H:%M:%S", &fields);
  return text;
}

std::string explanation(const Evidence& evidence) {
  if (evidence.error_file) {
    const ErrorFile& file = *evidence.error_file;
    std::string indented;
    for (const char c : file.py_callstack.empty() ? file.message : file.py_callstack) {
      indented += c;
      if (c == '\n') indented += "  ";
    }
    return indented;
  }
  if (const auto* signaled = std::get_if<Signaled>(&evidence.end))
    return fmt::format("Signal {0} ({1}) received by PID {2}", signaled->signal,
                       signal_name(signaled->signal), evidence.pid);
  if (std::holds_alternative<LostNode>(evidence.end))
    return "the agent of this node is gone; nobody saw the rank end";
  return "To enable traceback see: https://pytorch.org/docs/stable/elastic/errors.html";
}

std::string block(size_t number, const Evidence& evidence) {
  const WallTime time = evidence.error_file && evidence.error_file->timestamp
                            ? *evidence.error_file->timestamp
                            : evidence.ended_at;
  const auto* signaled = std::get_if<Signaled>(&evidence.end);
  return fmt::format(
      "[{}]:\n"
      "  time      : {}\n"
      "  host      : {}\n"
      "  rank      : {} (local_rank: {})\n"
      "  exitcode  : {} (pid: {}) {}\n"
      "  error_file: {}\n"
      "  traceback : {}",
      number, local_time(time), evidence.host, evidence.rank, evidence.local_rank,
      python_code(evidence.end), evidence.pid,
      signaled ? fmt::format(" ({})", signal_name(signaled->signal)) : "",
      evidence.error_file ? evidence.error_file->path : "<N/A>", explanation(evidence));
}

size_t widest_line(std::string_view text) {
  size_t widest = 0;
  for (;;) {
    const size_t newline = text.find('\n');
    widest = std::max(widest, text.substr(0, newline).size());
    if (newline == text.npos) return widest;
    text.remove_prefix(newline + 1);
  }
}

}  // namespace

std::string torchrun_failure_text(const std::string& title, const std::string& binary,
                                  std::span<const Evidence> evidence, const Verdict& verdict) {
  if (!verdict.first) return {};
  const Evidence& first = evidence[*verdict.first];
  const std::string root = block(0, first);
  size_t width = std::max(title.size() + 7, widest_line(root));
  std::string others;
  size_t number = 1;
  for (const Evidence& each : evidence) {
    if (&each == &first || succeeded(each.end)) continue;
    const std::string text = block(number++, each);
    width = std::max(width, widest_line(text));
    others += text + "\n";
  }
  if (others.empty()) others = "  <NO_OTHER_FAILURES>\n";
  width = std::min(width, kWidest);
  const std::string border(width, '='), section(width, '-');
  return fmt::format(
      "failed (exitcode: {}) local_rank: {} (pid: {}) of binary: {}\n"
      "{}\n{} FAILED\n{}\nFailures:\n{}{}\nRoot Cause (first observed failure):\n{}\n{}\n",
      python_code(first.end), first.local_rank, first.pid, binary, border, title, section, others,
      section, root, border);
}

}  // namespace megalaunch
