#pragma once

#include <optional>
#include <string>
#include <string_view>

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

/// Takes all prefixes off one line: times that a collector added, `[default3]:`, `[rank3]:`,
/// `[3]:`, `[1:3]`, `[1,3]<stderr>:`, `3: `, `worker-1: `, `node1: `, `10.0.0.7: `, `train/1 `,
/// `(Worker pid=7)`, `Nov 24 19:35:25 gpu-1 python[7]: `, a mail's `> `. Returns whose line it is;
/// `text` becomes the rest.
LineLabel take_prefixes(std::string_view& text);

}  // namespace megalaunch
