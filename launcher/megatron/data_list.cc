#include "launcher/megatron/data_list.h"

#include <sstream>

#include "launcher/job/section.h"

namespace megalaunch {

Result<DataList> parse_data_list(const std::string& text, const std::string& source) {
  DataList list;
  std::istringstream lines(text);
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    if (line.starts_with('#')) continue;
    std::istringstream words(line);
    std::string word;
    for (bool first = true; words >> word; first = false) {
      list.words.push_back(word);
      if (!first) continue;
      const auto weight = parse_integer(word);
      if (!weight || *weight < 0)
        return fail(Error::Kind::kUsage,
                    "{}:{}: '{}' is not a number of tokens; a line is 'tokens prefix'", source,
                    number, word);
      list.tokens += *weight;
    }
  }
  if (list.words.empty())
    return fail(Error::Kind::kUsage, "{}: no data sets; a line is 'tokens prefix'", source);
  return list;
}

}  // namespace megalaunch
