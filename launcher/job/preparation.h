#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "env/result.h"
#include "launcher/job/job.h"

namespace megalaunch {

/// Files to copy before the ranks start: those of folder `from` (links followed) that match
/// `pattern`, to folder `to`.
struct CopyRule {
  std::string from;
  std::string pattern;  ///< a name, with '*' for anything
  std::string to;
  bool required = true;  ///< no match is an error

  bool operator==(const CopyRule&) const = default;
};

/// Makes each directory with its parents; those that are there are fine. Stops at the first that
/// cannot be made.
Status make_directories(const std::vector<std::string>& directories);

/// Does all copies and returns how many files were written. A file is written aside, flushed to the
/// disk and renamed, so that nobody ever reads a part of it; one that is there with the same bytes
/// is left alone. On an error (no space, no match, unreadable) the destination is as it was before.
Result<int> copy_files(const std::vector<CopyRule>& rules);

/// The name of the file that says that a step is done: another command line is another step.
std::string prepare_marker_name(const PrepareStep& step);

/// Whether `name` matches `pattern`, in which '*' stands for anything.
bool matches_pattern(std::string_view name, std::string_view pattern);

}  // namespace megalaunch
