#pragma once

#include <string>
#include <vector>

namespace megalaunch {

/// The word as a shell reads it back: quoted only where that is needed.
std::string shell_word(const std::string& word);

/// A command over several lines, one option with its values in each, that a shell takes as one.
std::string shell_lines(const std::vector<std::string>& words);

}  // namespace megalaunch
