#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "env/result.h"
#include "launcher/causes/cause_rules.h"
#include "launcher/causes/evidence.h"
#include "launcher/causes/finding.h"
#include "launcher/causes/verdict.h"

namespace megalaunch {

/// What finished logs say about one rank: like live evidence, but with the place of every line, and
/// often without exit status, clock or rank number.
struct LoggedRank {
  Evidence evidence;  ///< without tails; `ended_at` orders the ranks of one diagnosis and may be no
                      ///< real time
  bool rank_known = false;      ///< evidence.rank is the global rank
  bool ordered = false;         ///< our report says when it ended
  bool from_directory = false;  ///< it had a directory to itself
  Finding finding;
  std::filesystem::path path;  ///< the file with finding.line, or the rank's log
};

/// What finished logs say about a failed run.
struct Diagnosis {
  std::vector<LoggedRank> ranks;
  Verdict verdict;                 ///< indices into `ranks`
  std::vector<std::string> notes;  ///< what was left out, such as earlier attempts
};

/// Reads logs of a run that has ended and names its first failure. `paths` are, in any mixture:
///  - a run directory of ours or of torchrun's, one of its attempts, or a directory of such: the
///  last attempt counts;
///  - a log file of one rank (its number is taken from a name like rank3.log);
///  - a log file of many ranks, told apart by their lines' prefixes. Order in the file is time.
///  - "-": standard input, as one such file.
/// Of a file above kMaxLog the end is read, which a note says. Errors: a path that is not there or
/// cannot be read, no log below it, or nothing but files that are empty, compressed or no text.
Result<Diagnosis> diagnose(const std::vector<std::filesystem::path>& paths,
                           const CauseRules& rules);

inline constexpr size_t kMaxLog = 64 * 1024 * 1024;

/// The part of diagnose() for one text, for tests and the fuzzer: `path` is only a name.
std::vector<LoggedRank> read_log_text(std::string_view text, const std::filesystem::path& path,
                                      WallTime written, const CauseRules& rules);

}  // namespace megalaunch
