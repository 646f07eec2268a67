#pragma once

#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

#include "rendezvous/store/wire_format.h"

namespace megalaunch {

/// Appends one request to `to`, the way torch's clients write it. `strings` are its keys and values
/// in wire order (key and value in turn for MULTI_SET), `number` its integer or word. The dialect
/// must have the operation.
void encode_request(std::string& to, Dialect dialect, Operation operation,
                    std::span<const std::string_view> strings, int64_t number = 0);

/// The same for fields known at the call: `encode_request(kMagic, kSet, {"/key", "value"})`.
std::string encode_request(Dialect dialect, Operation operation,
                           std::initializer_list<std::string_view> strings = {},
                           int64_t number = 0);

}  // namespace megalaunch
