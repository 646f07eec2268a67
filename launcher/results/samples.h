#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "env/clock.h"
#include "env/result.h"
#include "env/unique_fd.h"
#include "launcher/results/gpu_monitor.h"
#include "launcher/results/iteration_line.h"

namespace megalaunch {

struct SampledIteration {
  int rank = 0;
  IterationSample values;
};
struct SampledMemory {  ///< what a rank said of its own memory at its peak
  int rank = 0;
  double mib = 0;
};
struct SampledGpu {
  int node = 0;
  GpuSample values;
};

/// One line of samples.jsonl (docs/report.md has the format): when, in which generation, and what.
struct Sample {
  WallTime at;
  int generation = 0;
  std::variant<SampledIteration, SampledMemory, SampledGpu> what;
};

/// A sample as one line of JSON, with the newline. NaN and infinity, which JSON lacks, are the
/// strings "nan", "inf", "-inf".
std::string to_json_line(const Sample& sample);
/// The reverse, without or with the newline. Nothing for a damaged line or a kind that is not
/// known.
std::optional<Sample> parse_json_line(std::string_view line);

/// The file that node `node` appends its samples to: node 0 to samples.jsonl, the others to
/// samples-<node>.jsonl, because appending to one file from several machines loses lines on shared
/// storage.
std::filesystem::path samples_path(const std::filesystem::path& run_directory, int node);

/// Appends samples to a file, one write() a call, so that a crash leaves whole lines but at most
/// one; the next start ends that one. Bounded: at `limit` bytes a last line of kind "full" is
/// written and what follows is only counted; from half the limit on, three of four rounds of GPU
/// samples are left out. Not thread-safe; a write may block on a slow disk, so call it where that
/// is no harm.
class SampleWriter {
 public:
  static constexpr std::int64_t kDefaultLimit = 256 << 20;

  /// Opens or makes the file and its directory.
  static Result<SampleWriter> open(const std::filesystem::path& path,
                                   std::int64_t limit = kDefaultLimit);

  Status add(WallTime at, int generation, int rank, const IterationSample& values);
  Status add(WallTime at, int generation, int rank, const MemorySample& values);
  /// One round: what a GpuMonitor gave. The cards' names are written in the first round only.
  Status add(WallTime at, int generation, int node, const std::vector<GpuSample>& gpus);

  /// Samples that the limit, or a failed write, kept out of the file.
  std::int64_t dropped() const { return dropped_; }

 private:
  SampleWriter(UniqueFd fd, std::filesystem::path path, std::int64_t size, std::int64_t limit)
      : fd_(std::move(fd)), path_(std::move(path)), size_(size), limit_(limit) {}
  Status append(std::string lines, std::int64_t samples);

  UniqueFd fd_;
  std::filesystem::path path_;
  std::int64_t size_;
  std::int64_t limit_;
  std::int64_t dropped_ = 0;
  std::int64_t gpu_rounds_ = 0;
  bool full_ = false;
};

/// All samples of a run, from samples.jsonl and samples-<node>.jsonl, ordered by time. Damaged
/// lines are skipped. Empty when there are no such files.
std::vector<Sample> read_samples(const std::filesystem::path& run_directory);

}  // namespace megalaunch
