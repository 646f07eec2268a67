#include "launcher/gang/line_relay.h"

#include <string>

namespace megalaunch {

bool LineRelay::add(int rank, Console::Stream stream, std::string_view line, SteadyTime now) {
  if (line.ends_with('\n')) line.remove_suffix(1);
  const std::lock_guard lock(mutex_);
  const auto due_before = due_locked();
  const std::string_view kept = line.substr(0, limits_.line);
  if (!fits(kept.size(), now)) {
    if (left_out_.empty()) first_left_out_ = now;
    ++left_out_[rank];
    return due_locked() != due_before;
  }
  if (waiting_.empty()) first_waiting_ = now;
  if (const auto gap = left_out_.extract(rank); !gap.empty())
    waiting_.push_back({rank, stream == Console::Stream::kErr, "", gap.mapped()});
  waiting_.push_back({rank, stream == Console::Stream::kErr, std::string(kept), 0});
  if (kept.size() < line.size()) waiting_.back().text += " [... cut]";
  waiting_bytes_ += kept.size();
  return due_locked() != due_before;
}

bool LineRelay::fits(size_t bytes, SteadyTime now) {
  if (now - second_began_ >= seconds(1)) {
    second_began_ = now;
    lines_this_second_ = bytes_this_second_ = 0;
  }
  if (lines_this_second_ >= limits_.lines_per_second ||
      waiting_.size() >= limits_.lines_per_second ||
      bytes_this_second_ + bytes > limits_.bytes_per_second ||
      waiting_bytes_ + bytes > limits_.bytes_per_second)
    return false;
  ++lines_this_second_;
  bytes_this_second_ += bytes;
  return true;
}

std::optional<SteadyTime> LineRelay::due_locked() const {
  if (under_way_) return std::nullopt;
  if (!waiting_.empty()) return first_waiting_ + kGather;
  if (!left_out_.empty()) return first_left_out_ + kTellLeftOut;
  return std::nullopt;
}

std::optional<SteadyTime> LineRelay::due() const {
  const std::lock_guard lock(mutex_);
  return due_locked();
}

std::optional<LinesNews> LineRelay::take(SteadyTime now) {
  const std::lock_guard lock(mutex_);
  const auto due = due_locked();
  if (!due || *due > now) return std::nullopt;
  LinesNews news{std::move(waiting_)};
  waiting_.clear();
  waiting_bytes_ = 0;
  if (!left_out_.empty() && now >= first_left_out_ + kTellLeftOut) {
    for (const auto& [rank, count] : left_out_) news.lines.push_back({rank, false, "", count});
    left_out_.clear();
  }
  under_way_ = true;
  return news;
}

void LineRelay::arrived() {
  const std::lock_guard lock(mutex_);
  under_way_ = false;
}

void LineRelay::forget() {
  const std::lock_guard lock(mutex_);
  waiting_.clear();
  waiting_bytes_ = 0;
  left_out_.clear();
  under_way_ = false;
}

}  // namespace megalaunch
