#include "launcher/gang/cause_patterns.h"

#include <algorithm>
#include <array>
#include <deque>
#include <map>

namespace megalaunch {
namespace {

char fold(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

std::string folded(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(), fold);
  return result;
}

}  // namespace

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
      pattern.pieces.push_back(fold_case ? folded(text.substr(begin, star - begin))
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
    anchors.push_back(folded(pattern.pieces[pattern.anchor]));
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

bool PatternSet::verify(const Pattern& pattern, std::string_view line,
                        std::string_view folded_line) const {
  const std::string_view text = pattern.fold_case ? folded_line : line;
  size_t from = 0;
  for (size_t i = 0; i < pattern.pieces.size(); ++i) {
    const std::string& piece = pattern.pieces[i];
    const bool last = i + 1 == pattern.pieces.size();
    size_t at = 0;
    if (i == 0 && pattern.at_start) {
      if (!text.starts_with(piece)) return false;
    } else if (last && pattern.at_end) {
      if (!text.ends_with(piece)) return false;
      at = text.size() - piece.size();
      if (at < from) return false;
    } else {
      at = text.find(piece, from);
      if (at == std::string_view::npos) return false;
    }
    from = at + piece.size();
    if (last && pattern.at_end && from != text.size()) return false;
  }
  return true;
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
  const std::string folded_line = folded(line);
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
