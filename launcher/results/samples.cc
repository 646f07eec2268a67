#include "launcher/results/samples.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

namespace megalaunch {
namespace {

using nlohmann::json;

constexpr int kGpuRoundsKeptOf = 4;
constexpr std::string_view kFullLine = "{\"kind\":\"full\"}\n";

/// The fields of a sample with their keys, for writing and reading alike.
template <class Field, class Values>
void for_each_iteration_field(Field field, Values& v) {
  field("total", v.total_iterations);
  field("samples", v.consumed_samples);
  field("ms", v.ms_per_iteration);
  field("tflops", v.tflops_per_gpu);
  field("tokens", v.tokens_per_second_per_gpu);
  field("lr", v.learning_rate);
  field("batch", v.global_batch);
  field("loss", v.lm_loss);
  field("loss_scale", v.loss_scale);
  field("grad_norm", v.grad_norm);
  field("skipped", v.skipped_iterations);
  field("nan", v.nan_iterations);
}

template <class Field, class Values>
void for_each_gpu_field(Field field, Values& v) {
  field("memory_mib", v.memory_mib);
  field("utilization", v.utilization_percent);
  field("temperature", v.temperature_c);
  field("power_w", v.power_w);
  field("ecc", v.ecc_errors);
  field("last_xid", v.last_xid);
}

void append_value(std::string& line, double value) {
  if (std::isfinite(value))
    fmt::format_to(std::back_inserter(line), "{}", value);
  else
    line += std::isnan(value) ? "\"nan\"" : value > 0 ? "\"inf\"" : "\"-inf\"";
}
void append_value(std::string& line, std::int64_t value) {
  fmt::format_to(std::back_inserter(line), "{}", value);
}

struct AppendKnown {
  std::string& line;
  template <class T>
  void operator()(const char* key, const std::optional<T>& value) const {
    if (!value) return;
    fmt::format_to(std::back_inserter(line), ",\"{}\":", key);
    using Plain = std::conditional_t<std::is_floating_point_v<T>, double, std::int64_t>;
    append_value(line, static_cast<Plain>(*value));
  }
};

double number_from(const json& value) {
  if (!value.is_string()) return value.get<double>();
  const auto& word = value.get_ref<const std::string&>();
  if (word == "inf") return HUGE_VAL;
  if (word == "-inf") return -HUGE_VAL;
  return std::nan("");
}

struct ReadKnown {
  const json& object;
  template <class T>
  void operator()(const char* key, std::optional<T>& value) const {
    const auto found = object.find(key);
    if (found == object.end()) return;
    if constexpr (std::is_floating_point_v<T>)
      value = number_from(*found);
    else if (found->is_number_integer())
      value = found->get<T>();
  }
};

/// The integer at `key`; what is there and is none is damage, what is not there is `missing`.
template <class Integer = std::int64_t>
Integer integer_at(const json& object, const char* key, std::optional<Integer> missing = {}) {
  const auto found = object.find(key);
  if (found == object.end() && missing) return *missing;
  if (found == object.end() || !found->is_number_integer())
    throw json::other_error::create(501, "no integer", &object);
  return found->get<Integer>();
}

WallTime time_from(const json& value) {
  constexpr double kLatest = 9e9;  // the clock ends in 2262
  const auto since_1970 = value.get<double>();
  if (!(since_1970 >= 0 && since_1970 < kLatest))
    throw json::other_error::create(501, "no such time", &value);
  return WallTime(std::chrono::milliseconds(std::llround(since_1970 * 1000)));
}

Sample sample_from(const json& object) {
  Sample sample;
  sample.at = time_from(object.at("t"));
  sample.generation = integer_at<int>(object, "generation", 0);
  const auto& kind = object.at("kind").get_ref<const std::string&>();
  if (kind == "iteration") {
    SampledIteration iteration{integer_at<int>(object, "rank", 0), {}};
    iteration.values.iteration = integer_at(object, "iteration");
    for_each_iteration_field(ReadKnown{object}, iteration.values);
    sample.what = iteration;
  } else if (kind == "memory") {
    sample.what = SampledMemory{integer_at<int>(object, "rank", 0), object.at("mib").get<double>()};
  } else if (kind == "gpu") {
    SampledGpu gpu{integer_at<int>(object, "node", 0), {}};
    gpu.values.gpu = integer_at<int>(object, "gpu");
    gpu.values.xid_errors = integer_at(object, "xid", std::optional<std::int64_t>(0));
    gpu.values.name = object.value("name", std::string());
    for_each_gpu_field(ReadKnown{object}, gpu.values);
    sample.what = gpu;
  } else {
    throw json::other_error::create(501, "unknown kind", &object);
  }
  return sample;
}

void append_what(std::string& line, const SampledIteration& iteration) {
  fmt::format_to(std::back_inserter(line), ",\"rank\":{},\"iteration\":{}", iteration.rank,
                 iteration.values.iteration);
  for_each_iteration_field(AppendKnown{line}, iteration.values);
}
void append_what(std::string& line, const SampledMemory& memory) {
  fmt::format_to(std::back_inserter(line), ",\"rank\":{},\"mib\":", memory.rank);
  append_value(line, memory.mib);
}
void append_what(std::string& line, const SampledGpu& gpu) {
  fmt::format_to(std::back_inserter(line), ",\"node\":{},\"gpu\":{}", gpu.node, gpu.values.gpu);
  for_each_gpu_field(AppendKnown{line}, gpu.values);
  if (!gpu.values.name.empty())
    line +=
        ",\"name\":" + json(gpu.values.name).dump(-1, ' ', true, json::error_handler_t::replace);
  if (gpu.values.xid_errors > 0)
    fmt::format_to(std::back_inserter(line), ",\"xid\":{}", gpu.values.xid_errors);
}

/// A crash may have left a line without its end.
bool ends_within_a_line(int fd, std::int64_t size) {
  char last = '\n';
  return size > 0 && ::pread(fd, &last, 1, size - 1) == 1 && last != '\n';
}

}  // namespace

std::string to_json_line(const Sample& sample) {
  static constexpr const char* kKinds[] = {"iteration", "memory", "gpu"};
  const auto ms =
      std::chrono::duration_cast<std::chrono::milliseconds>(sample.at.time_since_epoch()).count();
  std::string line =
      fmt::format("{{\"kind\":\"{}\",\"t\":{}.{:03},\"generation\":{}", kKinds[sample.what.index()],
                  ms / 1000, ms % 1000, sample.generation);
  std::visit([&](const auto& what) { append_what(line, what); }, sample.what);
  line += "}\n";
  return line;
}

std::optional<Sample> parse_json_line(std::string_view line) {
  const json object = json::parse(line, nullptr, false);
  if (!object.is_object()) return std::nullopt;
  try {
    return sample_from(object);
  } catch (const json::exception&) {
    return std::nullopt;
  }
}

std::filesystem::path samples_path(const std::filesystem::path& run_directory, int node) {
  return run_directory / (node == 0 ? "samples.jsonl" : fmt::format("samples-{}.jsonl", node));
}

Result<SampleWriter> SampleWriter::open(const std::filesystem::path& path, std::int64_t limit) {
  std::error_code error;
  std::filesystem::create_directories(path.parent_path(), error);
  if (error)
    return errno_error(error.value(), fmt::format("create {}", path.parent_path().string()));
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  if (!fd) return errno_error(errno, fmt::format("open {}", path.string()));
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0)
    return errno_error(errno, fmt::format("examine {}", path.string()));
  const bool torn = ends_within_a_line(fd.get(), status.st_size);
  SampleWriter writer(std::move(fd), path, status.st_size, limit);
  if (torn) {
    if (auto ended = writer.append("\n", 0); !ended) return fail(std::move(ended).error());
  }
  return writer;
}

Status SampleWriter::append(std::string lines, std::int64_t samples) {
  if (full_ || size_ + static_cast<std::int64_t>(lines.size()) > limit_) {
    dropped_ += samples;
    if (std::exchange(full_, true)) return {};
    lines = kFullLine;
  }
  for (std::string_view rest = lines; !rest.empty();) {
    const ssize_t n = ::write(fd_.get(), rest.data(), rest.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      const int error = errno;
      dropped_ += samples;
      return errno_error(error, fmt::format("append to {}", path_.string()));
    }
    size_ += n;
    rest.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

Status SampleWriter::add(WallTime at, int generation, int rank, const IterationSample& values) {
  return append(to_json_line({at, generation, SampledIteration{rank, values}}), 1);
}

Status SampleWriter::add(WallTime at, int generation, int rank, const MemorySample& values) {
  return append(
      to_json_line({at, generation, SampledMemory{values.rank.value_or(rank), values.peak_mib()}}),
      1);
}

Status SampleWriter::add(WallTime at, int generation, int node,
                         const std::vector<GpuSample>& gpus) {
  const auto count = static_cast<std::int64_t>(gpus.size());
  const bool first_round = gpu_rounds_ == 0;
  if (gpu_rounds_++ % kGpuRoundsKeptOf != 0 && 2 * size_ > limit_) {
    dropped_ += count;
    return {};
  }
  std::string lines;
  for (GpuSample gpu : gpus) {
    if (!first_round) gpu.name.clear();  // said once
    lines += to_json_line({at, generation, SampledGpu{node, std::move(gpu)}});
  }
  return append(std::move(lines), count);
}

std::vector<Sample> read_samples(const std::filesystem::path& run_directory) {
  std::vector<Sample> samples;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(run_directory, error)) {
    const std::string name = entry.path().filename();
    if (!name.starts_with("samples") || !name.ends_with(".jsonl")) continue;
    std::ifstream file(entry.path(), std::ios::binary);
    for (std::string line; std::getline(file, line);)
      if (auto sample = parse_json_line(line)) samples.push_back(std::move(*sample));
  }
  std::ranges::stable_sort(samples, {}, &Sample::at);
  return samples;
}

}  // namespace megalaunch
