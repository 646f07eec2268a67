#include "rendezvous/gang/message_fields.h"

#include <nlohmann/json.hpp>

namespace megalaunch {

using nlohmann::json;

std::string text_field(const json& message, const char* name) {
  const auto found = message.find(name);
  return found != message.end() && found->is_string() ? found->get<std::string>() : std::string();
}

bool flag_field(const json& message, const char* name) {
  const auto found = message.find(name);
  return found != message.end() && found->is_boolean() && found->get<bool>();
}

int64_t number_field(const json& message, const char* name) {
  const auto found = message.find(name);
  return found != message.end() && found->is_number_integer() ? found->get<int64_t>() : 0;
}

}  // namespace megalaunch
