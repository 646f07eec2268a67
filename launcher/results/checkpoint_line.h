#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace megalaunch {

/// The iteration of a checkpoint, from the line of a rank's output which says that it is complete;
/// nothing for any other line, those that only announce one among them. Known are
///   Megatron-LM, Pai-Megatron-Patch  "successfully saved checkpoint from iteration     200 to
///   /ckpt"
///                                    (older: "at iteration"; also once an asynchronous one is
///                                    done)
///   DeepSpeed                        "Checkpoint global_step200 is ready now!"
/// The words must begin within the first 160 bytes. Pure, no allocation, no exception.
std::optional<std::int64_t> parse_checkpoint_line(std::string_view line);

}  // namespace megalaunch
