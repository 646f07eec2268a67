#include "launcher/torchrun/stream_choice.h"

#include <charconv>
#include <optional>

namespace megalaunch {
namespace {

std::optional<int> digit(std::string_view text) {
  if (text.size() != 1 || text[0] < '0' || text[0] > '3') return std::nullopt;
  return text[0] - '0';
}

std::optional<int> rank_number(std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || text[0] == '-' || error != std::errc() || end != text.data() + text.size())
    return std::nullopt;
  return value;
}

}  // namespace

Result<StreamChoice> parse_stream_choice(std::string_view text) {
  StreamChoice choice;
  if (const auto every = digit(text)) {
    choice.every = *every;
    return choice;
  }
  for (std::string_view rest = text;;) {
    const size_t comma = rest.find(',');
    const std::string_view part = rest.substr(0, comma);
    const size_t colon = part.find(':');
    const auto rank = rank_number(part.substr(0, colon));
    const auto bits = colon == part.npos ? std::nullopt : digit(part.substr(colon + 1));
    if (!rank || !bits)
      return fail(Error::Kind::kRefused,
                  "'{}' is neither 0, 1, 2 or 3 (none, stdout, stderr, both) nor a list such as "
                  "0:3,1:2 (local rank:value)",
                  text);
    choice.by_rank[*rank] = *bits;
    if (comma == rest.npos) return choice;
    rest.remove_prefix(comma + 1);
  }
}

}  // namespace megalaunch
