#include "launcher/results/measured_run.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <variant>

#include "env/unique_fd.h"
#include "launcher/results/printed_arguments.h"
#include "launcher/results/samples.h"

namespace megalaunch {
namespace {

constexpr std::size_t kChunk = 1 << 20;
constexpr std::size_t kLongestLine = 64 << 10;  // what is longer says nothing that is looked for

/// Calls `line` for each line of a file, without newline. Of a line over kLongestLine only pieces
/// are seen.
template <class Line>
Status for_each_line(const std::filesystem::path& path, Line line) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return errno_error(errno, fmt::format("open {}", path.string()));
  std::string buffer(kChunk + kLongestLine, '\0');
  std::size_t kept = 0;
  for (;;) {
    const ssize_t n = ::read(fd.get(), buffer.data() + kept, kChunk);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error(errno, fmt::format("read {}", path.string()));
    if (n == 0) break;
    std::string_view rest(buffer.data(), kept + static_cast<std::size_t>(n));
    for (std::size_t end; (end = rest.find('\n')) != rest.npos; rest.remove_prefix(end + 1))
      line(rest.substr(0, end));
    if (rest.size() > kLongestLine) rest.remove_prefix(rest.size());
    std::memmove(buffer.data(), rest.data(), rest.size());
    kept = rest.size();
  }
  if (kept > 0) line(std::string_view(buffer.data(), kept));
  return {};
}

/// What one log file says.
struct LogContent {
  std::vector<IterationSample> iterations;
  std::map<int, double> memory_mib;
  bool out_of_memory = false;
  bool traceback = false;

  void feed(std::string_view line, PrintedArguments& arguments) {
    if (const auto iteration = parse_iteration_line(line)) {
      iterations.push_back(*iteration);
    } else if (const auto memory = parse_memory_line(line)) {
      double& most = memory_mib[memory->rank.value_or(0)];
      most = std::max(most, memory->peak_mib());
    } else {
      if (iterations.empty()) arguments.feed(line);
      out_of_memory = out_of_memory || line.find("CUDA out of memory") != line.npos;
      traceback = traceback || line.find("Traceback (most recent call last)") != line.npos;
    }
  }
};

/// For a run that no launcher recorded: whether it got to its last iteration, and if not what its
/// logs show.
std::string outcome_of(const std::vector<MeasuredRun::Iteration>& iterations, bool out_of_memory,
                       bool traceback) {
  if (!iterations.empty()) {
    const IterationSample& last = iterations.back().values;
    if (last.total_iterations && last.iteration >= *last.total_iterations) return "ok";
  }
  if (out_of_memory) return "oom";
  if (traceback) return "error";
  return {};
}

Status read_logs(const RunFiles& files, MeasuredRun& run) {
  // By generation, of the file that has most: in some programs every rank prints them.
  std::map<int, std::vector<IterationSample>> generations;
  PrintedArguments arguments;
  bool out_of_memory = false;
  bool traceback = false;
  for (const auto& path : files.logs) {
    LogContent content;
    if (auto read =
            for_each_line(path, [&](std::string_view line) { content.feed(line, arguments); });
        !read)
      return read;
    for (const auto& [rank, mib] : content.memory_mib) {
      double& most = run.rank_memory_mib[rank];
      most = std::max(most, mib);
    }
    out_of_memory = out_of_memory || content.out_of_memory;
    traceback = traceback || content.traceback;
    auto& best = generations[generation_of_path(path)];
    if (content.iterations.size() > best.size()) best = std::move(content.iterations);
  }
  for (const auto& [number, iterations] : generations)
    for (const auto& values : iterations) run.iterations.push_back({number, std::nullopt, values});

  RunRecord printed = arguments.record();
  if (printed.name.empty() && !files.logs.empty())
    printed.complete_from(record_from_run_name(files.logs.front().string()));
  printed.name = files.name;
  printed.outcome = outcome_of(run.iterations, out_of_memory, traceback);
  run.record.complete_from(printed);
  return {};
}

void add_sample(const Sample& sample, MeasuredRun& run) {
  if (const auto* iteration = std::get_if<SampledIteration>(&sample.what)) {
    run.iterations.push_back({sample.generation, sample.at, iteration->values});
  } else if (const auto* memory = std::get_if<SampledMemory>(&sample.what)) {
    double& most = run.rank_memory_mib[memory->rank];
    most = std::max(most, memory->mib);
  } else if (const auto* gpu = std::get_if<SampledGpu>(&sample.what)) {
    double& most = run.gpu_memory_mib[{gpu->node, gpu->values.gpu}];
    most = std::max(most, gpu->values.memory_mib.value_or(0));
  }
}

/// What the counters of each GPU rose by: the driver counts ECC errors since it was loaded, Xid
/// events since the launcher began.
void add_counters(const std::vector<Sample>& samples, MeasuredRun& run) {
  struct Counted {
    std::int64_t first_ecc = 0;
    std::int64_t last_ecc = 0;
    std::int64_t last_xid = 0;
  };
  std::map<std::pair<int, int>, Counted> gpus;
  for (const Sample& sample : samples) {
    const auto* gpu = std::get_if<SampledGpu>(&sample.what);
    if (gpu == nullptr) continue;
    const std::int64_t ecc = gpu->values.ecc_errors.value_or(0);
    auto& counted =
        gpus.try_emplace({gpu->node, gpu->values.gpu}, Counted{ecc, ecc, 0}).first->second;
    counted.last_ecc = ecc;
    counted.last_xid = gpu->values.xid_errors;
    if (run.record.card.empty()) run.record.card = gpu->values.name;
  }
  for (const auto& [gpu, counted] : gpus) {
    run.xid_errors += counted.last_xid;
    run.ecc_errors += std::max<std::int64_t>(0, counted.last_ecc - counted.first_ecc);
  }
}

}  // namespace

std::optional<double> MeasuredRun::max_memory_mib() const {
  double most = 0;
  for (const auto& [gpu, mib] : gpu_memory_mib) most = std::max(most, mib);
  if (most <= 0)
    for (const auto& [rank, mib] : rank_memory_mib) most = std::max(most, mib);
  return most > 0 ? std::optional(most) : std::nullopt;
}

Result<MeasuredRun> read_measured_run(const RunFiles& files) {
  MeasuredRun run;
  if (!files.record_directory.empty()) {
    auto record = read_run_record(files.record_directory);
    if (!record) return fail(std::move(record).error());
    run.record = std::move(*record);
    const auto samples = read_samples(files.record_directory);
    for (const Sample& sample : samples) add_sample(sample, run);
    add_counters(samples, run);
  }
  if (run.iterations.empty()) {
    if (auto read = read_logs(files, run); !read) return fail(std::move(read).error());
  }
  return run;
}

}  // namespace megalaunch
