#pragma once

#include <compare>
#include <filesystem>
#include <optional>
#include <string_view>
#include <utility>

#include "env/variables.h"

namespace megalaunch {

/// A release of torch.
struct TorchVersion {
  int major = 0;
  int minor = 0;
  bool has_libuv = true;  ///< false: a build of Debian's, without torch's libuv store

  bool operator==(const TorchVersion&) const = default;
  auto operator<=>(const TorchVersion& other) const {
    return std::pair(major, minor) <=> std::pair(other.major, other.minor);
  }
};

/// "2.13.0+cu130" and "1.13.0a0" give {2, 13} and {1, 13}; "2.6.0+debian" has no libuv.
std::optional<TorchVersion> parse_torch_version(std::string_view text);

/// The torch that `program`, a Python interpreter, would import in this environment: read from
/// torch/version.py in the folders that Python searches (PYTHONPATH, the user's, the
/// interpreter's), without starting anything. Nothing when the program's name does not begin with
/// "python" or no torch is found.
std::optional<TorchVersion> installed_torch(const std::filesystem::path& program,
                                            const Variables& environment);

/// The variable that makes NCCL errors end a rank: torch renamed it in 2.2.
std::string_view nccl_error_handling_variable(std::optional<TorchVersion> torch);

/// Whether ranks must be told USE_LIBUV=0: from 2.4 on torch asks for libuv even where it was built
/// without, and then ends ("use_libuv was requested but PyTorch was build without libuv support").
bool must_refuse_libuv(std::optional<TorchVersion> torch);

}  // namespace megalaunch
