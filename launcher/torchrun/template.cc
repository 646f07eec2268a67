#include "launcher/torchrun/template.h"

namespace megalaunch {
namespace {

bool begins_name(char c) {
  return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
bool continues_name(char c) {
  return begins_name(c) || (c >= '0' && c <= '9');
}

/// The length of the name at the beginning of `text`; 0 for none.
size_t name_length(std::string_view text) {
  if (text.empty() || !begins_name(text[0])) return 0;
  size_t length = 1;
  while (length < text.size() && continues_name(text[length])) ++length;
  return length;
}

}  // namespace

std::string fill_template(std::string_view text, const TemplateValues& values) {
  std::string filled;
  while (!text.empty()) {
    const size_t dollar = text.find('$');
    filled += text.substr(0, dollar);
    if (dollar == text.npos) break;
    text.remove_prefix(dollar + 1);
    if (text.starts_with('$')) {
      filled += '$';
      text.remove_prefix(1);
      continue;
    }
    const bool braced = text.starts_with('{');
    const std::string_view from_name = text.substr(braced ? 1 : 0);
    const size_t length = name_length(from_name);
    const bool closed = !braced || (length < from_name.size() && from_name[length] == '}');
    const auto value = values.find(from_name.substr(0, length));
    if (length == 0 || !closed || value == values.end()) {
      filled += '$';
      continue;
    }
    filled += value->second;
    text.remove_prefix(length + (braced ? 2 : 0));
  }
  return filled;
}

}  // namespace megalaunch
