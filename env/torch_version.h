#pragma once

#include <compare>
#include <filesystem>
#include <optional>
#include <string_view>

#include "env/variables.h"

namespace megalaunch {

/// A release of torch.
struct TorchVersion {
  int major = 0;
  int minor = 0;
  auto operator<=>(const TorchVersion&) const = default;
};

/// "2.13.0+cu130" and "1.13.0a0" give {2, 13} and {1, 13}.
std::optional<TorchVersion> parse_torch_version(std::string_view text);

/// The torch that `program`, a Python interpreter, would import in this environment: read from
/// torch/version.py in the folders that Python searches (PYTHONPATH, the user's, the
/// interpreter's), without starting anything. Nothing when the program's name does not begin with
/// "python" or no torch is found.
std::optional<TorchVersion> installed_torch(const std::filesystem::path& program,
                                            const Variables& environment);

/// The variable that makes NCCL errors end a rank: torch renamed it in 2.2.
std::string_view nccl_error_handling_variable(std::optional<TorchVersion> torch);

}  // namespace megalaunch
