#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

#include "env/clock.h"

namespace megalaunch {

/// The launcher's own stdout and stderr, written in whole lines by one thread (LogPump's). A reader
/// that is slow makes write() wait, one that is gone makes it do nothing; neither ever reaches a
/// rank. On a terminal it keeps one status line at the bottom. Not thread-safe, but for
/// set_deadline() and width(). Does not own the descriptors.
class Console {
 public:
  enum class Stream { kOut, kErr };

  Console(int out_fd, int err_fd);

  /// Adds `prefix` and then `lines`, which end in a newline. Nothing is written before flush() or a
  /// full buffer.
  void write(Stream stream, std::string_view prefix, std::string_view lines);
  /// Writes all that is buffered, waiting for the reader, but not beyond the deadline set.
  void flush();

  /// Replaces the status line; empty removes it. Shown only when stderr is a terminal.
  void set_status(std::string line);
  bool has_terminal() const { return terminal_; }
  /// Columns of the terminal now; 0 without one.
  int width() const;

  /// From now on nothing waits longer than until `deadline`; what is left then is dropped and
  /// counted.
  void set_deadline(SteadyTime deadline) { deadline_.store(deadline.time_since_epoch()); }
  /// True once the deadline has passed while the reader was not ready, or both readers are gone.
  bool given_up() const { return given_up_; }
  uint64_t dropped_bytes() const { return dropped_bytes_; }

 private:
  void write_now(int fd, bool& open, std::string_view text);
  bool wait_writable(int fd);

  int out_fd_;
  int err_fd_;
  bool out_open_ = true;
  bool err_open_ = true;
  bool terminal_;
  bool status_shown_ = false;
  bool given_up_ = false;
  uint64_t dropped_bytes_ = 0;
  std::atomic<SteadyTime::duration> deadline_ = SteadyTime::duration::max();
  Stream buffered_stream_ = Stream::kOut;
  std::string buffer_;
  std::string status_;
};

}  // namespace megalaunch
