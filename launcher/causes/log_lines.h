#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "launcher/causes/line_label.h"

namespace megalaunch {

/// One line of a log, with what launchers and log collectors put in front of it taken off.
struct LogLine {
  std::string_view
      text;  ///< within the log, without its prefixes, colour codes at its start and line break
  std::string_view whole;
  size_t number = 0;  ///< counts from 1
  LineLabel label;
};

/// Splits a log at \n and \r (progress bars draw over themselves; a \r does not count as a line).
/// Linear in the text. The views point into `log`.
std::vector<LogLine> split_log(std::string_view log);

/// The line says that training went on: an iteration line of Megatron, a step of a progress bar, a
/// logged loss. `iteration` gets its number where it has one.
bool is_progress(std::string_view text, std::optional<long>* iteration = nullptr);

/// What tells a progress bar's states apart: "13/620"; empty: no bar that shows training.
std::string_view bar_count(std::string_view text);

/// The line above the frames of a Python traceback.
bool starts_traceback(std::string_view text);

/// The line between two tracebacks of which the second is about the first.
bool joins_tracebacks(std::string_view text);

/// The line ends a Python traceback: "ValueError: text", "torch.cuda.OutOfMemoryError: ...",
/// "KeyboardInterrupt", "torch._dynamo.exc.Unsupported: ...". `behind_frames`: a traceback's frames
/// end above it, so that a class of any name is one ("Uncapturable: text").
bool is_exception(std::string_view text, bool behind_frames = false);

/// The exception that a logger wrote into its line ("CRITICAL [util:158] Uncaught DataError:
/// text"), from its name on; empty: none.
std::string_view logged_exception(std::string_view text);

/// The name of the exception that a driver says it got from a task elsewhere, whose own traceback
/// stands elsewhere too ("KeyError" of "ray.exceptions.RayTaskError(KeyError): ray::f() ...");
/// empty: none.
std::string_view relayed_exception(std::string_view text);

/// The line is part of the frame that Python's rich draws around a traceback: quoted code, values
/// and the frame's edges. The exception itself stands below the frame.
bool is_boxed(std::string_view text);

/// NCCL's own line, whatever stands before it: "gpu5:35917:35994 [0] NCCL WARN ...".
bool is_nccl_line(std::string_view text);

/// The process that NCCL names at the start of its line ("gpu5:35917" of "gpu5:35917:35994 [0] NCCL
/// WARN ..."); empty in any other line.
std::string_view nccl_process(std::string_view text);

/// NCCL's trace of a call that failed, at its level INFO: "NCCL INFO group.cc:64 -> 2 [Async
/// thread]", with the number of a result that is an error.
bool is_nccl_failing(std::string_view text);

/// The lines of one rank (all of one label) that explain the one at `index`: the whole traceback
/// that it ends, with those chained before it, and a message's further lines; else the line itself
/// with its neighbours of interest. At most `limit` lines; a longer traceback loses its middle.
std::vector<std::string> lines_that_matter(const std::vector<LogLine>& lines, size_t index,
                                           size_t limit = 200);

}  // namespace megalaunch
