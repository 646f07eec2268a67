#pragma once

#include <map>
#include <string_view>

#include "env/result.h"

namespace megalaunch {

/// Which of stdout and stderr, for every local rank or by local rank: the values of --redirects and
/// --tee. Either one digit (0 none, 1 stdout, 2 stderr, 3 both) or `rank:digit,...`, where ranks
/// that are not listed have none.
struct StreamChoice {
  int every = 0;  ///< used when by_rank is empty
  std::map<int, int> by_rank;

  bool out(int local_rank) const { return (bits(local_rank) & 1) != 0; }
  bool err(int local_rank) const { return (bits(local_rank) & 2) != 0; }

 private:
  int bits(int local_rank) const {
    if (by_rank.empty()) return every;
    const auto found = by_rank.find(local_rank);
    return found == by_rank.end() ? 0 : found->second;
  }
};

/// torchrun takes a single digit for the rank; this takes any number of them.
Result<StreamChoice> parse_stream_choice(std::string_view text);

}  // namespace megalaunch
