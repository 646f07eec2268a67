#pragma once

#include <cstdint>
#include <optional>

namespace megalaunch {

/// How far training had come, as far as anybody saw it: Megatron's iterations. Both count upwards
/// over the job's life. A plain value.
struct TrainingProgress {
  std::optional<int64_t> iteration;   ///< highest that a rank printed
  std::optional<int64_t> checkpoint;  ///< of the newest checkpoint that a rank called complete

  bool operator==(const TrainingProgress&) const = default;
};

/// The further one of each.
inline TrainingProgress furthest(const TrainingProgress& a, const TrainingProgress& b) {
  // An empty optional is less than any value.
  return {a.iteration < b.iteration ? b.iteration : a.iteration,
          a.checkpoint < b.checkpoint ? b.checkpoint : a.checkpoint};
}

}  // namespace megalaunch
