#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "env/result.h"

namespace megalaunch {

/// A weighted or plain list of data sets, as it goes to the command line, and what a data list file
/// adds to it.
struct DataList {
  std::vector<std::string> words;  ///< weight, prefix, weight, prefix, ...; or prefixes alone
  std::int64_t tokens = 0;         ///< of a data list file: the sum of its weights
};

/// Reads lines of "weight prefix ..."; lines that start with '#' do not count. The error names the
/// line of `source`.
Result<DataList> parse_data_list(const std::string& text, const std::string& source);

}  // namespace megalaunch
