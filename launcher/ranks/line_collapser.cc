#include "launcher/ranks/line_collapser.h"

#include <fmt/core.h>

#include <algorithm>

namespace megalaunch {
namespace {

/// What a group costs beside its text.
constexpr size_t kGroupCost = 128;

}  // namespace

std::string rank_ranges(std::vector<int> ranks) {
  std::sort(ranks.begin(), ranks.end());
  std::string text;
  for (size_t i = 0; i < ranks.size();) {
    size_t last = i;
    while (last + 1 < ranks.size() && ranks[last + 1] == ranks[last] + 1) ++last;
    if (!text.empty()) text += ',';
    text += last == i ? fmt::format("{}", ranks[i]) : fmt::format("{}-{}", ranks[i], ranks[last]);
    i = last + 1;
  }
  return text;
}

void LineCollapser::add(int node, int rank, Console::Stream stream, std::string_view line,
                        SteadyTime now) {
  auto& by_text = by_text_[static_cast<size_t>(stream)];
  uint64_t& last = last_[rank];
  if (const auto same = by_text.find(line); same != by_text.end()) {
    // Only behind the group of its own last line: so its lines keep their order.
    const Numbers& numbers = same->second;
    const auto next = std::upper_bound(numbers.begin(), numbers.end(), last);
    if (next != numbers.end()) {
      last = *next;
      groups_[last - first_number_].ranks.push_back(rank);
      return tick(now);
    }
  }
  last = first_number_ + groups_.size();
  groups_.push_back({stream, std::string(line), node, {rank}, now + window_});
  by_text[groups_.back().text].push_back(last);
  bytes_ += line.size() + kGroupCost;
  while (bytes_ > max_bytes_) show_front();
  tick(now);
}

void LineCollapser::tick(SteadyTime now) {
  while (!groups_.empty() &&
         (groups_.front().due <= now || groups_.front().ranks.size() >= expected_))
    show_front();
}

std::optional<SteadyTime> LineCollapser::deadline() const {
  if (groups_.empty()) return std::nullopt;
  return groups_.front().due;
}

void LineCollapser::flush() {
  while (!groups_.empty()) show_front();
}

void LineCollapser::show_front() {
  const Group& group = groups_.front();
  show_(group.stream, fmt::format("[{}:{}] ", group.node, rank_ranges(group.ranks)), group.text);
  auto& by_text = by_text_[static_cast<size_t>(group.stream)];
  const auto same = by_text.find(group.text);
  Numbers numbers = std::move(same->second);
  by_text.erase(same);  // its key is a view into this group
  numbers.pop_front();
  if (!numbers.empty()) {
    const std::string_view key = groups_[numbers.front() - first_number_].text;
    by_text.emplace(key, std::move(numbers));
  }
  bytes_ -= group.text.size() + kGroupCost;
  groups_.pop_front();
  ++first_number_;
}

}  // namespace megalaunch
