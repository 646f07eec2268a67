#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace megalaunch {

/// Whose line it is, as far as its prefix says. Two lines belong together when their labels are
/// equal.
struct LineLabel {
  std::optional<int> rank;        ///< [rank3]: and the like: a global rank
  std::optional<int> local_rank;  ///< torchrun's [default3]:
  std::string node;  ///< a node's name or number, where the prefix has one ("worker-1: ")
  bool operator==(const LineLabel&) const = default;
  bool empty() const { return !rank && !local_rank && node.empty(); }
};

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

/// Takes all prefixes off one line: times that a collector added, `[default3]:`, `[rank3]:`,
/// `[3]:`, `[1:3]`,
/// `[1,3]<stderr>:`, `3: `, `worker-1: `, `10.0.0.7: `, `train/1 `, `(Worker pid=7)`. Returns whose
/// line it is; `text` becomes the rest.
LineLabel take_prefixes(std::string_view& text);

/// The line says that training went on: an iteration line of Megatron, a step of a progress bar, a
/// logged loss. `iteration` gets its number where it has one.
bool is_progress(std::string_view text, std::optional<long>* iteration = nullptr);

/// The line ends a Python traceback: "ValueError: text", "torch.cuda.OutOfMemoryError: ...",
/// "KeyboardInterrupt".
bool is_exception(std::string_view text);

/// The rank that a message speaks of as its own: torch's "[Rank 3] Watchdog caught ...", Megatron's
/// "Rank 3, node gpu-1, ...". Not the ranks that a message waits for.
std::optional<int> rank_named_in(std::string_view text);

/// The line is part of the frame that Python's rich draws around a traceback: quoted code, values
/// and the frame's edges. The exception itself stands below the frame.
bool is_boxed(std::string_view text);

/// The lines of one rank (all of one label) that explain the one at `index`: the whole traceback
/// that it ends, with those chained before it, and a message's further lines; else the line itself
/// with its neighbours of interest. At most `limit` lines; a longer traceback loses its middle.
std::vector<std::string> lines_that_matter(const std::vector<LogLine>& lines, size_t index,
                                           size_t limit = 200);

}  // namespace megalaunch
