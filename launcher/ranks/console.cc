#include "launcher/ranks/console.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <thread>
#include <utility>

#include <fmt/core.h>

namespace megalaunch {
namespace {

constexpr size_t kFlushSize = 256 * 1024;
/// Wanted of a pipe: with its usual 64 KiB, writer and reader wake each other all the time.
constexpr int kPipeSize = 1 << 20;
/// How long to wait when poll() and write() do not agree: a terminal with room for half a line end.
constexpr milliseconds kDisagreement{5};
constexpr std::string_view kEraseLine = "\r\x1b[2K";

}  // namespace

Console::Console(int out_fd, int err_fd)
    : err_fd_(err_fd),
      out_(sink_on(out_fd)),
      err_(sink_on(err_fd)),
      terminal_(::isatty(err_fd) == 1) {}

Console::Sink Console::sink_on(int fd) {
  Sink sink;
  sink.fd = fd;
  struct stat info {};
  if (::fstat(fd, &info) != 0) return sink;
  sink.is_file = S_ISREG(info.st_mode);
  sink.is_socket = S_ISSOCK(info.st_mode);
  if (S_ISFIFO(info.st_mode)) ::fcntl(fd, F_SETPIPE_SZ, kPipeSize);  // or not
  // The descriptor is shared with whoever started us, so it must not be made non-blocking itself.
  if (!sink.is_file && !sink.is_socket)
    sink.own.reset(::open(fmt::format("/proc/self/fd/{}", fd).c_str(),
                          O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  if (sink.own) sink.fd = sink.own.get();
  return sink;
}

void Console::write(Stream stream, std::string_view prefix, std::string_view lines) {
  if (stream != buffered_stream_) flush();
  buffered_stream_ = stream;
  while (!lines.empty()) {
    const void* newline = std::memchr(lines.data(), '\n', lines.size());
    const size_t length =
        newline == nullptr
            ? lines.size()
            : static_cast<size_t>(static_cast<const char*>(newline) - lines.data()) + 1;
    if (buffer_.size() + prefix.size() + length >= kFlushSize) flush();
    buffer_.append(prefix).append(lines.substr(0, length));
    if (newline == nullptr) buffer_.push_back('\n');
    lines.remove_prefix(length);
  }
}

void Console::flush() {
  if (buffer_.empty()) return;
  if (status_shown_) {
    write_now(err_, kEraseLine);
    status_shown_ = false;
  }
  if (buffered_stream_ == Stream::kOut)
    write_now(out_, buffer_);
  else
    write_now(err_, buffer_);
  buffer_.clear();
  if (terminal_ && !status_.empty()) {
    write_now(err_, status_);
    status_shown_ = true;
  }
}

void Console::set_status(std::string line) {
  if (!terminal_ || line == status_) return;
  flush();
  if (status_shown_) write_now(err_, kEraseLine);
  status_ = std::move(line);
  status_shown_ = !status_.empty();
  if (status_shown_) write_now(err_, status_);
}

int Console::width() const {
  winsize size{};
  return terminal_ && ::ioctl(err_fd_, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

bool Console::past_deadline() const {
  return std::chrono::steady_clock::now().time_since_epoch() >= deadline_.load();
}

bool Console::wait_writable(int fd) {
  for (;;) {
    // Looks up now and then, because the deadline may be set while we wait.
    pollfd waiting{fd, POLLOUT, 0};
    const int ready = ::poll(&waiting, 1, 100);
    if (ready > 0) return true;  // also on POLLERR: the write then says what is wrong
    if (ready < 0 && errno != EINTR) return true;
    if (past_deadline()) return false;
  }
}

ssize_t Console::write_some(const Sink& sink, std::string_view text) {
  if (sink.is_socket) return ::send(sink.fd, text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  // Where we could not open it ourselves it may block, but not for PIPE_BUF bytes into a pipe that
  // poll() calls writable.
  const bool may_block = !sink.is_file && !sink.own;
  return ::write(sink.fd, text.data(),
                 may_block ? std::min<size_t>(text.size(), PIPE_BUF) : text.size());
}

void Console::write_now(Sink& sink, std::string_view text) {
  bool full = false;  // since the last byte that was taken
  while (sink.open && !given_up_ && !text.empty()) {
    // Where a write does not block it tells by itself whether there is room.
    const bool may_block = !sink.is_file && !sink.is_socket && !sink.own;
    if (may_block && !wait_writable(sink.fd)) {
      given_up_ = true;
      break;
    }
    const ssize_t count = write_some(sink, text);
    if (count >= 0) {
      full = false;
      text.remove_prefix(static_cast<size_t>(count));
    } else if (errno == EAGAIN) {
      if (std::exchange(full, true)) std::this_thread::sleep_for(kDisagreement);
      given_up_ = past_deadline() || !wait_writable(sink.fd);
    } else if (errno != EINTR) {
      sink.open = false;  // closed or full: the files still have every line
    }
  }
  dropped_bytes_ += text.size();
}

}  // namespace megalaunch
