#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "env/clock.h"
#include "launcher/results/iteration_line.h"

namespace megalaunch {

/// Where a training is, from the ranks' own lines: what one status line on a terminal and one line
/// a minute in a container log say, and whether a restart got further than the lives before it.
/// Pure: time comes in with each call. Not thread-safe. feed() is made for every line of every
/// rank; a line that says nothing costs one scan for '|'.
class Progress {
 public:
  /// What the lines do not say. Zero is unknown; then what needs it is left out.
  struct Job {
    int gpus = 0;
    std::int64_t sequence_length =
        0;  ///< with the batch: tokens a second where the lines have none
  };

  explicit Progress(WallTime start) : Progress(start, Job{}) {}
  Progress(WallTime start, Job job) : job_(job), started_(start) {}

  /// A new life of the gang. Without this call, an iteration that goes back begins one by itself.
  void begin_generation(int generation, WallTime now);

  /// One line of `rank`, with or without newline. Only one rank's iteration lines count in a
  /// generation (the first that prints one), because in some programs every rank prints them; a
  /// line that repeats the latest iteration counts once. Returns the sample when the line was an
  /// iteration line that counts, for whoever records samples.
  std::optional<IterationSample> feed(int rank, std::string_view line, WallTime now);
  /// Memory in use on some GPU as the driver counts it; the highest figure is shown.
  void feed_gpu_memory(double mib) { peak_mib_ = std::max(peak_mib_, mib); }

  /// The newest iteration line of this generation.
  const std::optional<IterationSample>& latest() const { return latest_; }
  /// The furthest iteration of any generation; 0 before the first line.
  std::int64_t furthest_iteration() const { return std::max(furthest_before_, furthest_now_); }
  /// Whether this generation has got past the furthest iteration of all earlier ones: the restart
  /// policy's "progress".
  bool advanced() const { return furthest_now_ > furthest_before_; }
  int generation() const { return generation_; }

  /// Time to the last iteration at the pace of the last iterations, saving and evaluation included;
  /// empty until known.
  std::optional<seconds> remaining(WallTime now) const;
  /// Given by the line, or batch x length / time / GPUs.
  std::optional<double> tokens_per_second_per_gpu() const;

  /// `iteration 120/11920 1.0% | 25.00 s | 607.2 TFLOP/s/GPU | 10.5k tokens/s/GPU | loss 2.504 v
  /// | 67.7 GiB | ETA 3d9h | generation 1` in at most `width` columns: what matters least is left
  /// out first. No newline, no control characters.
  std::string status_line(int width, WallTime now) const;
  /// The same, whole, in the form of a log line: `progress: iteration ...`.
  std::string summary_line(WallTime now) const;

 private:
  /// Wall-clock moments of the last iteration lines, for the pace.
  class Pace {
   public:
    void add(std::int64_t iteration, WallTime at);
    void clear() { size_ = next_ = 0; }
    std::optional<double> seconds_per_iteration() const;

   private:
    struct Mark {
      std::int64_t iteration;
      WallTime at;
    };
    std::array<Mark, 64> marks_{};
    std::size_t size_ = 0;
    std::size_t next_ = 0;
  };

  void forget_generation();
  void add_loss(double loss);
  const char* loss_direction() const;

  Job job_;
  WallTime started_;
  WallTime heard_{};  ///< when the latest iteration line came
  int generation_ = 0;
  std::optional<int> reporter_;
  std::optional<IterationSample> latest_;
  std::int64_t furthest_before_ = 0;
  std::int64_t furthest_now_ = 0;
  double peak_mib_ = 0;
  double fast_loss_ =
      0;  ///< moving averages over few and many iterations; their difference is the direction
  double slow_loss_ = 0;
  std::int64_t losses_ = 0;
  Pace pace_;
};

}  // namespace megalaunch
