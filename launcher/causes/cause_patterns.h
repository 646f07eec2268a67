#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace megalaunch {

/// Many patterns matched against many lines in one pass over the text. Linear in the text for any
/// input: no regular expressions, no recursion, no backtracking over more than one line.
///
/// A pattern is text that a line must contain. `*` stands for any run of at most kMaxSpan
/// characters within the line (words further apart are of different messages, which a log has run
/// together), a leading `^` ties it to the line's start and a trailing `$` to its end. There is no
/// escape: none of the three is needed literally in a message that anyone matches on.
class PatternSet {
 public:
  /// Longer lines are matched by their first and last halves of this many bytes only.
  static constexpr size_t kMaxLine = 8192;
  /// How much of a line one wildcard can stand for.
  static constexpr size_t kMaxSpan = 160;

  /// Adds a pattern that reports `id`. False when it holds no text of at least three bytes between
  /// its wildcards (it would match nearly every line). Call compile() after the last one.
  bool add(std::string_view pattern, bool fold_case, size_t id);
  void compile();

  /// Appends to `ids` the id of each pattern that the line matches, each pattern at most once, in
  /// no set order.
  void match(std::string_view line, std::vector<size_t>& ids) const;

 private:
  struct Pattern {
    std::vector<std::string> pieces;  ///< the text between wildcards
    size_t anchor = 0;                ///< the piece that the automaton looks for
    bool at_start = false;
    bool at_end = false;
    bool fold_case = false;
    size_t id = 0;
  };
  static bool verify(const Pattern& pattern, std::string_view line, std::string_view folded);
  void match_part(std::string_view line, std::vector<size_t>& ids) const;

  std::vector<Pattern> patterns_;
  // Aho-Corasick over case-folded anchors, as a dense table: next_[state * classes_ +
  // class_of_[byte]].
  std::vector<uint8_t> class_of_;
  size_t classes_ = 1;
  std::vector<uint32_t> next_;
  std::vector<std::vector<uint32_t>> found_;  ///< per state: the patterns whose anchor ends there
};

}  // namespace megalaunch
