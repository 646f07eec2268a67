#pragma once

#include <string_view>

namespace megalaunch {

/// What kinds of lines of a log tell of no failure of their own.

/// A warning or information that did not end anybody, such as torch's "[W socket.cpp ...]" while it
/// still tries, or what NCCL goes without at its level INFO. NCCL's warnings are kept: it says no
/// more before it fails; so is that of torchrun's agent that it was told to end.
bool is_remark(std::string_view text);

/// A logger's line of level INFO. Programs tell there of signals and of lost nodes too, but refuse
/// nothing. NCCL's lines are none: see is_remark().
bool is_information(std::string_view text);

/// The lists of arguments that Megatron and DeepSpeed print ("  rerun_mode ............ disabled"):
/// names of settings, not events.
bool is_setting(std::string_view text);

/// The program says how it goes on in spite of what the line tells: "no checkpoint found, starting
/// from scratch".
bool goes_on(std::string_view text);

/// A part of torchrun's report, or a line in which a launcher tells of the ends of processes: the
/// failed program said why before it.
bool is_launchers_report(std::string_view text);

/// A frame of native code in a stack that the program printed: "frame #8: <unknown function> +
/// 0x1f".
bool is_native_frame(std::string_view text);

}  // namespace megalaunch
