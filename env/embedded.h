#pragma once

#include <cstddef>
#include <string_view>

namespace megalaunch {

/// A text file that was compiled into the binary (cmake/embed.cmake).
struct EmbeddedFile {
  std::string_view name;  ///< without its folder
  std::string_view text;
};

}  // namespace megalaunch
