#include "env/variables.h"

#include <unistd.h>
#include <cstring>

namespace megalaunch {

Variables Variables::of_this_process() {
  std::map<std::string, std::string> values;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const char* equals = std::strchr(*entry, '=');
    if (equals != nullptr)
      values.try_emplace(std::string(*entry, static_cast<size_t>(equals - *entry)), equals + 1);
  }
  return Variables(std::move(values));
}

std::optional<std::string> Variables::get(std::string_view name) const {
  const auto found = values_.find(std::string(name));
  if (found == values_.end()) return std::nullopt;
  return found->second;
}

std::optional<std::string> Variables::get_nonempty(std::string_view name) const {
  auto value = get(name);
  if (value && value->empty()) return std::nullopt;
  return value;
}

std::vector<std::string> Variables::to_strings() const {
  std::vector<std::string> strings;
  strings.reserve(values_.size());
  for (const auto& [name, value] : values_) strings.push_back(name + '=' + value);
  return strings;
}

}  // namespace megalaunch
