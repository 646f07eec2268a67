#include "launcher/results/progress.h"

#include <fmt/format.h>

#include <cmath>
#include <vector>

namespace megalaunch {
namespace {

constexpr double kFastLoss = 1.0 / 8;
constexpr double kSlowLoss = 1.0 / 32;
constexpr double kFlatLoss =
    1e-3;  // relative difference of the averages that counts as no direction
constexpr double kSilentAfter =
    5;  // iteration times without a line, after which the status says so
constexpr auto kSilentAtLeast = seconds(60);

double seconds_between(WallTime from, WallTime to) {
  return std::chrono::duration<double>(to - from).count();
}

/// Columns of UTF-8 text that has no wide characters.
int columns(std::string_view text) {
  return static_cast<int>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

/// The two largest units: "3d9h", "2h05m", "4m10s", "17s".
std::string format_duration(double in_seconds) {
  if (!(in_seconds >= 0)) return "0s";
  if (in_seconds > 1e4 * 86400) return "years";
  const auto s = static_cast<std::int64_t>(std::llround(in_seconds));
  if (s >= 86400) return fmt::format("{}d{}h", s / 86400, s % 86400 / 3600);
  if (s >= 3600) return fmt::format("{}h{:02}m", s / 3600, s % 3600 / 60);
  if (s >= 60) return fmt::format("{}m{:02}s", s / 60, s % 60);
  return fmt::format("{}s", s);
}

std::string format_iteration_time(double ms) {
  if (ms < 1000) return fmt::format("{:.1f} ms", ms);
  if (ms < 100'000) return fmt::format("{:.2f} s", ms / 1000);
  return fmt::format("{:.0f} s", ms / 1000);
}

std::string format_rate(double tokens) {
  if (tokens < 1000) return fmt::format("{:.0f}", tokens);
  return fmt::format("{:.1f}k", tokens / 1000);
}

/// One part of the status line. When the line is too long, the highest `rank` goes first.
struct Part {
  int rank;
  std::string text;
};

std::string join_within(std::vector<Part> parts, int width) {
  constexpr int kSeparator = 3;
  const auto total = [&] {
    int sum = parts.empty() ? 0 : -kSeparator;
    for (const Part& part : parts) sum += columns(part.text) + kSeparator;
    return sum;
  };
  while (parts.size() > 1 && total() > width)
    parts.erase(std::max_element(parts.begin(), parts.end(),
                                 [](const Part& a, const Part& b) { return a.rank < b.rank; }));
  std::string line;
  for (const Part& part : parts) line += (line.empty() ? "" : " | ") + part.text;
  if (columns(line) > width)
    line.resize(static_cast<std::size_t>(std::max(width, 0)));  // the first part is ASCII
  return line;
}

}  // namespace

void Progress::Pace::add(std::int64_t iteration, WallTime at) {
  marks_[next_] = {iteration, at};
  next_ = (next_ + 1) % marks_.size();
  size_ = std::min(size_ + 1, marks_.size());
}

std::optional<double> Progress::Pace::seconds_per_iteration() const {
  if (size_ < 2) return std::nullopt;
  const Mark& newest = marks_[(next_ + marks_.size() - 1) % marks_.size()];
  const Mark& oldest = marks_[(next_ + marks_.size() - size_) % marks_.size()];
  const auto iterations = static_cast<double>(newest.iteration - oldest.iteration);
  const double pace = seconds_between(oldest.at, newest.at) / iterations;
  return std::isfinite(pace) && pace > 0 ? std::optional(pace) : std::nullopt;
}

void Progress::forget_generation() {
  furthest_before_ = furthest_iteration();
  furthest_now_ = 0;
  reporter_.reset();
  latest_.reset();
  losses_ = 0;
  pace_.clear();
}

void Progress::begin_generation(int generation, WallTime now) {
  forget_generation();
  generation_ = generation;
  started_ = now;
}

std::optional<IterationSample> Progress::feed(int rank, std::string_view line, WallTime now) {
  auto sample = parse_iteration_line(line);
  if (!sample) {
    if (const auto memory = parse_memory_line(line)) feed_gpu_memory(memory->peak_mib());
    return std::nullopt;
  }
  if (reporter_.value_or(rank) != rank) return std::nullopt;
  if (latest_ && sample->iteration == latest_->iteration) return std::nullopt;
  if (latest_ && sample->iteration < latest_->iteration) {
    forget_generation();
    ++generation_;
  }
  reporter_ = rank;
  if (sample->lm_loss) add_loss(*sample->lm_loss);
  pace_.add(sample->iteration, now);
  furthest_now_ = std::max(furthest_now_, sample->iteration);
  latest_ = sample;
  heard_ = now;
  return sample;
}

void Progress::add_loss(double loss) {
  if (!std::isfinite(loss)) return;
  if (losses_++ == 0) fast_loss_ = slow_loss_ = loss;
  fast_loss_ += kFastLoss * (loss - fast_loss_);
  slow_loss_ += kSlowLoss * (loss - slow_loss_);
}

const char* Progress::loss_direction() const {
  if (losses_ < 2) return "";
  const double difference = fast_loss_ - slow_loss_;
  if (std::abs(difference) <= kFlatLoss * std::abs(slow_loss_)) return " →";
  return difference < 0 ? " ↓" : " ↑";
}

std::optional<seconds> Progress::remaining(WallTime now) const {
  if (!latest_ || !latest_->total_iterations) return std::nullopt;
  auto pace = pace_.seconds_per_iteration();
  if (!pace && latest_->ms_per_iteration) pace = *latest_->ms_per_iteration / 1000;
  if (!pace) return std::nullopt;
  const auto left = static_cast<double>(*latest_->total_iterations - latest_->iteration);
  const double estimate = std::max(0.0, left * *pace - seconds_between(heard_, now));
  if (!(estimate < 1e10)) return std::nullopt;
  return seconds(std::llround(estimate));
}

std::optional<double> Progress::tokens_per_second_per_gpu() const {
  if (!latest_) return std::nullopt;
  if (latest_->tokens_per_second_per_gpu) return latest_->tokens_per_second_per_gpu;
  if (!latest_->global_batch || !latest_->ms_per_iteration || job_.gpus <= 0 ||
      job_.sequence_length <= 0)
    return std::nullopt;
  const double tokens =
      static_cast<double>(*latest_->global_batch) * static_cast<double>(job_.sequence_length);
  const double rate = tokens / (*latest_->ms_per_iteration / 1000) / job_.gpus;
  return std::isfinite(rate) ? std::optional(rate) : std::nullopt;
}

std::string Progress::status_line(int width, WallTime now) const {
  std::vector<Part> parts;
  const auto add = [&](int rank, std::string text) { parts.push_back({rank, std::move(text)}); };
  if (!latest_) {
    add(0,
        fmt::format("no iteration line yet, {}", format_duration(seconds_between(started_, now))));
    if (peak_mib_ > 0) add(2, fmt::format("{:.1f} GiB", peak_mib_ / 1024));
    if (generation_ > 0) add(1, fmt::format("generation {}", generation_));
    return join_within(std::move(parts), width);
  }
  const IterationSample& at = *latest_;
  std::string iteration = fmt::format("iteration {}", at.iteration);
  if (at.total_iterations) {
    iteration += fmt::format("/{}", *at.total_iterations);
    if (*at.total_iterations > 0)
      add(0, fmt::format("{} {:.1f}%", iteration,
                         100.0 * static_cast<double>(at.iteration) /
                             static_cast<double>(*at.total_iterations)));
  }
  if (parts.empty()) add(0, iteration);

  const double silent = seconds_between(heard_, now);
  const double expected =
      pace_.seconds_per_iteration().value_or(at.ms_per_iteration.value_or(0) / 1000);
  if (silent >
      std::max(kSilentAfter * expected, std::chrono::duration<double>(kSilentAtLeast).count()))
    add(1, fmt::format("silent {}", format_duration(silent)));
  if (at.ms_per_iteration) add(4, format_iteration_time(*at.ms_per_iteration));
  if (at.tflops_per_gpu) add(5, fmt::format("{:.1f} TFLOP/s/GPU", *at.tflops_per_gpu));
  if (const auto tokens = tokens_per_second_per_gpu())
    add(8, format_rate(*tokens) + " tokens/s/GPU");
  if (at.lm_loss) add(3, fmt::format("loss {:.4g}{}", *at.lm_loss, loss_direction()));
  if (peak_mib_ > 0) add(6, fmt::format("{:.1f} GiB", peak_mib_ / 1024));
  if (const auto left = remaining(now))
    add(2, "ETA " + format_duration(static_cast<double>(left->count())));
  if (generation_ > 0) add(7, fmt::format("generation {}", generation_));
  return join_within(std::move(parts), width);
}

std::string Progress::summary_line(WallTime now) const {
  return "progress: " + status_line(1000, now);
}

}  // namespace megalaunch
