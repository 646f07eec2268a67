#include "launcher/megatron/nearest.h"

#include <algorithm>
#include <cstdlib>

namespace megalaunch {
namespace {

constexpr std::int64_t kMaxTried = 4096;

}  // namespace

std::vector<std::int64_t> divisors(std::int64_t number) {
  std::vector<std::int64_t> low, high;
  for (std::int64_t i = 1; i <= number / i; ++i) {
    if (number % i != 0) continue;
    low.push_back(i);
    if (i != number / i) high.push_back(number / i);
  }
  low.insert(low.end(), high.rbegin(), high.rend());
  return low;
}

std::vector<std::int64_t> nearest_multiples(std::int64_t number, std::int64_t step) {
  if (step < 1) return {};
  const std::int64_t below = number / step * step;
  if (below < 1) return {step};
  return below == number ? std::vector<std::int64_t>{below}
                         : std::vector<std::int64_t>{below, below + step};
}

std::vector<std::int64_t> nearest_that_pass(std::int64_t wanted, std::int64_t limit, size_t count,
                                            const std::function<bool(std::int64_t)>& passes) {
  std::vector<std::int64_t> found;
  for (std::int64_t n = 1; n <= std::min(limit, kMaxTried); ++n)
    if (passes(n)) found.push_back(n);
  std::stable_sort(found.begin(), found.end(), [&](std::int64_t a, std::int64_t b) {
    return std::llabs(a - wanted) < std::llabs(b - wanted);
  });
  if (found.size() > count) found.resize(count);
  std::sort(found.begin(), found.end());
  return found;
}

std::string use_one_of(const std::vector<std::int64_t>& numbers, const std::string& and_also) {
  std::vector<std::string> words;
  for (const std::int64_t number : numbers) words.push_back(std::to_string(number));
  if (!and_also.empty()) words.push_back(and_also);
  if (words.empty()) return "nothing passes with the other settings as they are";
  std::string text = "use " + words.front();
  for (size_t i = 1; i < words.size(); ++i)
    text += (i + 1 == words.size() ? " or " : ", ") + words[i];
  return text;
}

}  // namespace megalaunch
