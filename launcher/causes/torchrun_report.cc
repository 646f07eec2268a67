#include "launcher/causes/torchrun_report.h"

#include <algorithm>
#include <charconv>
#include <csignal>
#include <utility>

namespace megalaunch {
namespace {

std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t");
  return begin == text.npos ? std::string_view() : text.substr(begin);
}

/// The number behind `key` in `text`.
std::optional<int> number_after(std::string_view text, std::string_view key) {
  const size_t at = text.find(key);
  if (at == text.npos) return std::nullopt;
  const std::string_view rest = trimmed(text.substr(at + key.size()));
  int value = 0;
  if (std::from_chars(rest.data(), rest.data() + rest.size(), value).ec != std::errc())
    return std::nullopt;
  return value;
}

RankEnd end_of(int code) {
  if (code >= 0 && code <= 255) return Exited{code};
  if (code < 0 && code > -NSIG) return Signaled{-code, false};
  return NotRecorded{};
}

/// The value of "  key   : value", or nothing.
std::optional<std::string_view> field(std::string_view text, std::string_view key) {
  text = trimmed(text);
  if (!text.starts_with(key)) return std::nullopt;
  text = trimmed(text.substr(key.size()));
  if (!text.starts_with(':')) return std::nullopt;
  return trimmed(text.substr(1));
}

bool same_rank(const TorchrunFailure& a, const TorchrunFailure& b) {
  if (a.pid != 0 && b.pid != 0) return a.pid == b.pid;
  return a.local_rank && a.local_rank == b.local_rank;
}

}  // namespace

bool TorchrunFailure::stopped_by_torchrun() const {
  const auto* signaled = std::get_if<Signaled>(&end);
  return !root_cause && signaled != nullptr &&
         (signaled->signal == SIGTERM || signaled->signal == SIGKILL);
}

std::vector<TorchrunFailure> find_torchrun_report(const std::vector<LogLine>& lines) {
  std::vector<TorchrunFailure> found;
  std::vector<TorchrunFailure> announced;  // by one-line messages
  TorchrunFailure block;
  bool root = false;
  size_t begin = 0;  // of the report
  const auto finish_block = [&](const LogLine& line) {
    block.root_cause = root;
    block.line = line.number;
    block.order = root && begin != 0 ? begin : line.number;
    block.text = std::string(trimmed(line.text));
    found.push_back(std::exchange(block, {}));
  };
  for (const LogLine& line : lines) {
    const std::string_view text = line.text;
    if (text.starts_with("Failures:")) {
      root = false;
      begin = line.number;
    }
    if (text.starts_with("Root Cause (first observed failure)")) root = true;
    if (text.find("(local_rank:") != text.npos && text.find("exitcode") != text.npos) {
      // A collector has put the block into one line.
      block = {};
      block.rank = number_after(text, " rank :");
      block.local_rank = number_after(text, "local_rank:");
      block.end = end_of(number_after(text, "exitcode :").value_or(1));
      block.pid = number_after(text, "(pid:").value_or(0);
      finish_block(line);
    } else if (const auto host = field(text, "host")) {
      block = {};
      block.host = std::string(host->substr(0, host->find(' ')));
    } else if (const auto rank = field(text, "rank")) {
      block.rank = number_after(text, ":");
      block.local_rank = number_after(text, "local_rank:");
    } else if (const auto code = field(text, "exitcode"); code && block.rank) {
      block.end = end_of(number_after(text, ":").value_or(1));
      block.pid = number_after(text, "pid:").value_or(0);
      finish_block(line);
    } else if (const auto exit = number_after(text, "failed (exitcode:")) {
      TorchrunFailure one;
      one.local_rank = number_after(text, "local_rank:");
      one.pid = number_after(text, "(pid:").value_or(0);
      one.end = end_of(*exit);
      one.root_cause = true;
      one.line = line.number;
      one.order = line.number;
      one.text = std::string(trimmed(text));
      announced.push_back(std::move(one));
    }
  }
  for (TorchrunFailure& one : announced)
    if (std::none_of(found.begin(), found.end(),
                     [&](const auto& other) { return same_rank(one, other); }))
      found.push_back(std::move(one));
  return found;
}

}  // namespace megalaunch
