#pragma once

#include <optional>
#include <string>
#include <vector>

namespace megalaunch {

struct Training;
struct ResumeFrom;

/// The arguments of Megatron-LM's own pretrain_gpt.py: those of the script `gpt-pretrain`, which
/// needs a fork that knows
/// `--flash-save` and `--flash-load`, or those of own mode, which any Megatron-LM takes.
std::vector<std::string> gpt_arguments(const Training& training,
                                       const std::optional<ResumeFrom>& resume);

}  // namespace megalaunch
