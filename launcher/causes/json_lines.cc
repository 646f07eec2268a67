#include "launcher/causes/json_lines.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace megalaunch {
namespace {

/// The text that a line carries: docker and CRI-O ("log"), journald ("MESSAGE"), cloud log stores
/// ("textPayload"), shippers and benchmarks.
std::optional<std::string> text_of(std::string_view line) {
  if (!line.starts_with('{')) return std::nullopt;
  const auto object = nlohmann::json::parse(line.begin(), line.end(), nullptr, false);
  if (!object.is_object()) return std::nullopt;
  for (const char* key :
       {"log", "message", "msg", "MESSAGE", "textPayload", "line", "text", "data"})
    if (const auto found = object.find(key); found != object.end() && found->is_string())
      return found->get<std::string>();
  return std::nullopt;
}

}  // namespace

std::optional<std::string> unwrap_json_lines(std::string_view log) {
  // A program's own line of JSON is none; a log of this form begins and goes on with it.
  constexpr size_t kProof = 3;
  std::string result;
  size_t wrapped = 0;
  while (!log.empty()) {
    const size_t end = std::min(log.find('\n'), log.size());
    const std::string_view line = log.substr(0, end);
    log.remove_prefix(std::min(end + 1, log.size()));
    auto text = text_of(line);
    if (!text && !line.empty() && wrapped < kProof) return std::nullopt;
    if (text) ++wrapped;
    if (text && text->ends_with('\n')) text->pop_back();
    // A further line within one object does not count as a line of the file.
    if (text) std::replace(text->begin(), text->end(), '\n', '\r');
    result += text ? *text : std::string(line);
    result += '\n';
  }
  if (wrapped == 0) return std::nullopt;
  return result;
}

}  // namespace megalaunch
