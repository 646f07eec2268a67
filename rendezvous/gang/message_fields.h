#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace megalaunch {

/// Fields of a peer's message, for both ends of the channel. They never throw: a field of the wrong
/// type is a missing one, and a missing one is empty, false or 0.
std::string text_field(const nlohmann::json& message, const char* name);
bool flag_field(const nlohmann::json& message, const char* name);
int64_t number_field(const nlohmann::json& message, const char* name);

}  // namespace megalaunch
