#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

#include "env/clock.h"
#include "env/unique_fd.h"

namespace megalaunch {

/// The launcher's own stdout and stderr, written in whole lines by one thread (LogPump's). A reader
/// that is slow makes write() wait, one that is gone makes it do nothing; neither ever reaches a
/// rank. On a terminal it keeps one status line at the bottom. Not thread-safe, but for
/// set_deadline() and width(). Does not own the descriptors.
class Console {
 public:
  enum class Stream { kOut, kErr };

  Console(int out_fd, int err_fd);

  /// Adds lines with `prefix` in front of each; a last one without newline gets one. Nothing is
  /// written before flush() or a full buffer.
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
  /// True once the deadline has passed while a reader was not ready.
  bool given_up() const { return given_up_; }
  /// Of lines that were to be shown: those that a reader did not take in time, or that is gone.
  uint64_t dropped_bytes() const { return dropped_bytes_; }

 private:
  /// One of the two streams.
  struct Sink {
    int fd = -1;
    UniqueFd own;  ///< the same file opened once more, so that it may be non-blocking
    bool is_file = false;
    bool is_socket = false;
    bool open = true;
  };
  static Sink sink_on(int fd);

  void write_now(Sink& sink, std::string_view text);
  static ssize_t write_some(const Sink& sink, std::string_view text);
  bool wait_writable(int fd);
  bool past_deadline() const;

  int err_fd_;
  Sink out_;
  Sink err_;
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
