#include "launcher/causes/remarks.h"

#include <algorithm>
#include <string>

#include "env/ascii.h"
#include "launcher/causes/log_lines.h"
#include "launcher/causes/scan.h"

namespace megalaunch {
namespace {

constexpr size_t kReach = 1000;  ///< of a line that is looked through

/// Of printing characters none that belongs to a word: "=====", "* * *".
bool is_rule_line(std::string_view text) {
  return std::none_of(text.begin(), text.end(), [](char c) {
    return scan::letter(c) || scan::digit(c) || static_cast<unsigned char>(c) >= 0x80;
  });
}

}  // namespace

bool is_remark(std::string_view text) {
  for (const std::string_view kept : {"NCCL WARN", "death signal, shutting down"})
    if (text.find(kept) != text.npos) return false;
  if (text.find("NCCL INFO") != text.npos) return !is_nccl_failing(text);
  const auto digit = [&](size_t at) { return at < text.size() && scan::digit(text[at]); };
  // [W and [I: torch's warnings and information from C++.
  if ((text.starts_with("[W") || text.starts_with("[I")) &&
      (digit(2) || text.substr(2).starts_with(' ')))
    return true;
  if (text.starts_with('W') && digit(1) && digit(2) && digit(3)) return true;
  // What pip says of a package that it did not install stays without consequence.
  if (text.find(" requires ") != text.npos && text.find(", but you have ") != text.npos)
    return true;
  // A library asks whether there is a GPU of AMD's.
  if (text.find("'rocminfo'") != text.npos) return true;
  // A script activates its environment in a shell that has not been told how, and goes on.
  if (text.starts_with("CommandNotFoundError: Your shell has not been")) return true;
  // A shell takes the arguments behind a missing backslash for a command; the real one has run.
  if (text.find(": -") != text.npos && text.ends_with(": command not found")) return true;
  // A command that a shell is about to run (set -x).
  if (text.starts_with("+ ") || text.starts_with("++ ")) return true;
  // What a script says when it cleans up.
  for (const std::string_view command : {"rm: ", "rmdir: ", "kill: ", "umount: ", "pkill: "})
    if (text.starts_with(command)) return true;
  const std::string_view start = text.substr(0, 200);
  for (const std::string_view level :
       {"WARNING", "Warning: ", "[DEBUG]", "ERROR: pip's dependency resolver"})
    if (start.find(level) != start.npos) return true;
  return false;
}

bool is_information(std::string_view text) {
  const std::string_view start = text.substr(0, 100);
  if (start.find("NCCL") != start.npos) return false;
  for (const std::string_view level : {" INFO ", "INFO:", "[INFO]", "[INFO|"})
    if (start.find(level) != start.npos) return true;
  return text.starts_with("INFO ");
}

bool is_setting(std::string_view text) {
  const size_t dots = text.find(" ...");
  return dots != text.npos && text.find("  ") < dots &&
         text.find_first_not_of('.', dots + 1) < text.size() &&
         text[text.find_first_not_of('.', dots + 1)] == ' ';
}

bool goes_on(std::string_view text) {
  if (text.find("NCCL WARN") != text.npos) return false;  // it says no more before it fails
  const std::string folded = ascii_lower(text.substr(0, kReach));
  for (const std::string_view how :
       {"from scratch", "start from random", "falling back to", "fall back to", "fallback to",
        "will be ignored", "ignoring", "skipping", "retrying", "using default", "will retry",
        "continuing without", "newly initialized"})
    if (folded.find(how) != folded.npos) return true;
  return false;
}

bool is_launchers_report(std::string_view text) {
  text = text.substr(0, kReach);
  scan::take_blanks(text);
  if (is_rule_line(text)) return true;
  for (const std::string_view start :
       {"Failures:", "Root Cause (", "<NO_OTHER_FAILURES>", "Setting OMP_NUM_THREADS", "To see ",
        "Set the environment variable HYDRA_FULL_ERROR"})
    if (text.starts_with(start)) return true;
  for (const std::string_view part :
       {"torch.distributed.elastic", "torch/distributed/elastic", "torch.distributed.run",
        "torch/distributed/run", "sigkill_handler", "launch.py:", "runner.py:",
        "returned non-zero exit status", "For detailed output, run", "elastic/errors.html"})
    if (text.find(part) != text.npos) return true;
  if (text.ends_with(" FAILED") || text.starts_with('['))
    return text.ends_with("]:") || text.ends_with(" FAILED");
  // "  rank      : 1 (local_rank: 1)"
  const size_t colon = text.find(" : ");
  if (colon == text.npos && !text.starts_with("error_file:")) return false;
  for (const std::string_view key :
       {"time ", "host ", "rank ", "exitcode ", "error_file:", "traceback "})
    if (text.starts_with(key)) return true;
  return false;
}

bool is_native_frame(std::string_view text) {
  scan::take_blanks(text);
  return text.starts_with("frame #");
}

}  // namespace megalaunch
