#include "launcher/causes/named_rank.h"

#include "launcher/causes/log_lines.h"
#include "launcher/causes/scan.h"

namespace megalaunch {
namespace {

using namespace scan;

/// A sentence is no longer; what follows may be anything.
constexpr size_t kMaxSentence = 400;
constexpr std::string_view kBarrier = " failed to pass monitoredBarrier";

/// The number of "Rank 3", "rank: 3", "rank=3", where "rank" stands `at`.
std::optional<int> number_of_rank(std::string_view text, size_t at) {
  std::string_view rest = text.substr(at + 4);
  const size_t blanks = rest.find_first_not_of(" :=#");
  if (blanks == 0 || blanks == rest.npos || blanks > 3) return std::nullopt;
  rest.remove_prefix(blanks);
  const auto rank = take_number(rest);
  return rest.empty() || !word(rest.front()) ? rank : std::nullopt;
}

/// Whether a rank behind these words is a process of the job: not one within a group, a LoRA's or a
/// matrix's, and not one that is waited for.
bool speak_of_a_process(std::string_view before) {
  if (before.empty()) return true;
  for (const std::string_view words : {"[", "(", ": ", ", ", "| ", " on ", "lobal ", "lobal_",
                                       "rocess ", "ERROR ", "Error on ", "Error in "})
    if (before.ends_with(words)) return true;
  return false;
}

std::optional<int> rank_spoken_of(std::string_view text) {
  std::optional<int> found;
  for (size_t at = 0; (at = text.find("ank", at + 1)) != text.npos;) {
    if (text[at - 1] != 'r' && text[at - 1] != 'R') continue;
    const auto rank = number_of_rank(text, at - 1);
    if (!rank || !speak_of_a_process(text.substr(0, at - 1))) continue;
    if (found && found != rank) return std::nullopt;
    found = rank;
  }
  return found;
}

/// "task 12" of "srun: error: gpu-7: task 12: Out Of Memory".
std::optional<int> task_of_srun(std::string_view text) {
  const size_t at = text.find(": task ");
  if (!text.starts_with("srun: error: ") || at == text.npos) return std::nullopt;
  std::string_view rest = text.substr(at + 7);
  const auto task = take_number(rest);
  return rest.starts_with(": ") ? task : std::nullopt;
}

/// The number of "[3]" and "3", with nothing but `after` behind it.
std::optional<int> only_one(std::string_view list, std::string_view after) {
  const bool bracket = take(list, "[");
  const auto rank = take_number(list);
  if (bracket && !take(list, "]")) return std::nullopt;
  return list.starts_with(after) ? rank : std::nullopt;
}

}  // namespace

std::optional<int> rank_named_in(std::string_view text) {
  text = text.substr(0, kMaxSentence);
  if (text.find(kBarrier) != text.npos) return std::nullopt;
  struct Form {
    std::string_view before, after;
  };
  for (const Form& form :
       {Form{"[Rank ", "] "}, Form{"Rank ", ": found"}, Form{"Rank ", ", node "},
        Form{"on rank ", " at iteration"}, Form{"process ", " terminated with "}}) {
    const size_t at = text.find(form.before);
    if (at == text.npos) continue;
    std::string_view rest = text.substr(at + form.before.size());
    if (const auto rank = take_number(rest); rank && rest.starts_with(form.after)) return rank;
  }
  if (const auto task = task_of_srun(text)) return task;
  return rank_spoken_of(text);
}

std::optional<int> rank_accused_in(std::string_view text) {
  text = text.substr(0, kMaxSentence);
  struct Form {
    std::string_view before, after;
  };
  for (const Form& form : {Form{"Ranks ", kBarrier}, Form{"Rank ", kBarrier},
                           Form{"ranks ", " are the lagging ranks"}})
    for (size_t at = 0; (at = text.find(form.before, at)) != text.npos;) {
      at += form.before.size();
      if (const auto rank = only_one(text.substr(at), form.after)) return rank;
    }
  if (text.find(", but didn't join collective") == text.npos) return std::nullopt;
  take_blanks(text);
  if (take(text, "-")) take_blanks(text);
  return only_one(text, " finished collective");
}

std::optional<int> rank_spawned(const std::vector<LogLine>& lines, size_t index) {
  constexpr size_t kReach = 200;
  for (size_t back = index; back > 0 && index - back < kReach; --back) {
    std::string_view text = lines[back - 1].text;
    if (!scan::take(text, "-- Process ")) continue;
    return scan::take_number(text);
  }
  return std::nullopt;
}

}  // namespace megalaunch
