#include "launcher/causes/cause_patterns.h"

#include <algorithm>
#include <array>
#include <deque>
#include <map>

#include "env/ascii.h"

namespace megalaunch {

bool PatternSet::add(std::string_view text, bool fold_case, size_t id) {
  Pattern pattern;
  pattern.id = id;
  pattern.fold_case = fold_case;
  if (text.starts_with('^')) {
    pattern.at_start = true;
    text.remove_prefix(1);
  }
  if (text.ends_with('$')) {
    pattern.at_end = true;
    text.remove_suffix(1);
  }
  for (size_t begin = 0; begin <= text.size();) {
    const size_t star = std::min(text.find('*', begin), text.size());
    // A wildcard at either end frees that end; elsewhere an empty piece says nothing.
    const bool empty = star == begin;
    if (empty && begin == 0) pattern.at_start = false;
    if (empty && star == text.size()) pattern.at_end = false;
    if (!empty)
      pattern.pieces.push_back(fold_case ? ascii_lower(text.substr(begin, star - begin))
                                         : std::string(text.substr(begin, star - begin)));
    begin = star + 1;
  }
  if (pattern.pieces.empty()) return false;
  const auto longest =
      std::max_element(pattern.pieces.begin(), pattern.pieces.end(),
                       [](const auto& a, const auto& b) { return a.size() < b.size(); });
  if (longest->size() < 3) return false;
  pattern.anchor = static_cast<size_t>(longest - pattern.pieces.begin());
  patterns_.push_back(std::move(pattern));
  return true;
}

void PatternSet::compile() {
  class_of_.assign(256, 0);
  classes_ = 1;  // class 0: bytes that no anchor holds
  std::vector<std::string> anchors;
  for (const Pattern& pattern : patterns_) {
    anchors.push_back(ascii_lower(pattern.pieces[pattern.anchor]));
    for (const char c : anchors.back()) {
      uint8_t& of = class_of_[static_cast<uint8_t>(c)];
      if (of == 0) of = static_cast<uint8_t>(classes_++);
    }
  }
  for (int c = 'A'; c <= 'Z'; ++c)
    class_of_[static_cast<size_t>(c)] = class_of_[static_cast<size_t>(c - 'A' + 'a')];

  // The trie. 0 is the root and also "no edge": no edge leads back to the root.
  next_.assign(classes_, 0);
  found_.assign(1, {});
  for (size_t i = 0; i < anchors.size(); ++i) {
    size_t state = 0;
    for (const char c : anchors[i]) {
      const size_t edge = state * classes_ + class_of_[static_cast<uint8_t>(c)];
      if (next_[edge] == 0) {
        next_[edge] = static_cast<uint32_t>(found_.size());
        found_.emplace_back();
        next_.resize(next_.size() + classes_, 0);
      }
      state = next_[edge];
    }
    found_[state].push_back(static_cast<uint32_t>(i));
  }

  // Breadth first, so that a state's fallback is complete before the state is.
  std::vector<uint32_t> fallback(found_.size(), 0);
  std::deque<uint32_t> queue;
  for (size_t c = 0; c < classes_; ++c)
    if (next_[c] != 0) queue.push_back(next_[c]);
  while (!queue.empty()) {
    const uint32_t state = queue.front();
    queue.pop_front();
    const auto& inherited = found_[fallback[state]];
    found_[state].insert(found_[state].end(), inherited.begin(), inherited.end());
    for (size_t c = 0; c < classes_; ++c) {
      uint32_t& edge = next_[state * classes_ + c];
      const uint32_t other = next_[fallback[state] * classes_ + c];
      if (edge == 0) {
        edge = other;
      } else {
        fallback[edge] = other;
        queue.push_back(edge);
      }
    }
  }
}

namespace {

/// Where a run of pieces can end within a line, for the pieces so far. A greedy search would not
/// do: the first place of one piece may lie too far before the next piece, and a later one near
/// enough.
class Reach {
 public:
  /// The first piece: anywhere, or at the line's start alone.
  Reach(std::string_view text, bool at_start) : text_(text), anywhere_(!at_start) {
    if (at_start) ends_.push_back(0);
  }

  /// Puts `piece` behind the ends so far: right there, or behind a wildcard. False: nowhere.
  bool add(std::string_view piece, bool behind_wildcard) {
    std::vector<size_t> ends;
    const size_t span = behind_wildcard ? PatternSet::kMaxSpan : 0;
    size_t latest = 0;  // of the ends so far, the last that is not behind `at`
    for (size_t at = text_.find(piece); at != text_.npos; at = text_.find(piece, at + 1)) {
      if (!anywhere_) {
        while (latest + 1 < ends_.size() && ends_[latest + 1] <= at) ++latest;
        if (ends_[latest] > at || at - ends_[latest] > span) continue;
      }
      ends.push_back(at + piece.size());
    }
    anywhere_ = false;
    ends_ = std::move(ends);
    return !ends_.empty();
  }

  bool at_end() const { return ends_.back() == text_.size(); }

 private:
  std::string_view text_;
  bool anywhere_;
  std::vector<size_t> ends_;  ///< ascending
};

}  // namespace

bool PatternSet::verify(const Pattern& pattern, std::string_view line,
                        std::string_view folded_line) {
  const std::string_view text = pattern.fold_case ? folded_line : line;
  const std::string& first = pattern.pieces.front();
  if (pattern.at_start && !text.starts_with(first)) return false;
  if (pattern.at_end && !text.ends_with(pattern.pieces.back())) return false;
  if (pattern.pieces.size() == 1)
    return pattern.at_start ? !pattern.at_end || text.size() == first.size()
                            : pattern.at_end || text.find(first) != text.npos;
  Reach reach(text, pattern.at_start);
  for (const std::string& piece : pattern.pieces)
    if (!reach.add(piece, &piece != &first)) return false;
  return !pattern.at_end || reach.at_end();
}

void PatternSet::match_part(std::string_view line, std::vector<size_t>& ids) const {
  std::vector<uint32_t> candidates;
  size_t state = 0;
  for (const char c : line) {
    state = next_[state * classes_ + class_of_[static_cast<uint8_t>(c)]];
    if (found_[state].empty()) continue;
    for (const uint32_t found : found_[state])
      if (std::find(candidates.begin(), candidates.end(), found) == candidates.end())
        candidates.push_back(found);
  }
  if (candidates.empty()) return;
  const std::string folded_line = ascii_lower(line);
  for (const uint32_t candidate : candidates)
    if (verify(patterns_[candidate], line, folded_line)) ids.push_back(patterns_[candidate].id);
}

void PatternSet::match(std::string_view line, std::vector<size_t>& ids) const {
  if (next_.empty()) return;
  if (line.size() <= kMaxLine) return match_part(line, ids);
  match_part(line.substr(0, kMaxLine / 2), ids);
  match_part(line.substr(line.size() - kMaxLine / 2), ids);
}

}  // namespace megalaunch
