#include "launcher/ranks/console.h"

#include <limits.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace megalaunch {
namespace {

constexpr size_t kFlushSize = 64 * 1024;
constexpr std::string_view kEraseLine = "\r\x1b[2K";

}  // namespace

Console::Console(int out_fd, int err_fd)
    : out_fd_(out_fd), err_fd_(err_fd), terminal_(::isatty(err_fd) == 1) {}

void Console::write(Stream stream, std::string_view prefix, std::string_view lines) {
  if (stream != buffered_stream_ || buffer_.size() + prefix.size() + lines.size() > kFlushSize)
    flush();
  buffered_stream_ = stream;
  buffer_.append(prefix).append(lines);
}

void Console::flush() {
  if (buffer_.empty()) return;
  if (status_shown_) {
    write_now(err_fd_, err_open_, kEraseLine);
    status_shown_ = false;
  }
  if (buffered_stream_ == Stream::kOut)
    write_now(out_fd_, out_open_, buffer_);
  else
    write_now(err_fd_, err_open_, buffer_);
  buffer_.clear();
  if (terminal_ && !status_.empty()) {
    write_now(err_fd_, err_open_, status_);
    status_shown_ = true;
  }
}

void Console::set_status(std::string line) {
  if (!terminal_ || line == status_) return;
  flush();
  if (status_shown_) write_now(err_fd_, err_open_, kEraseLine);
  status_ = std::move(line);
  status_shown_ = !status_.empty();
  if (status_shown_) write_now(err_fd_, err_open_, status_);
}

int Console::width() const {
  winsize size{};
  return terminal_ && ::ioctl(err_fd_, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

bool Console::wait_writable(int fd) {
  for (;;) {
    // Looks up now and then, because the deadline may be set while we wait.
    pollfd waiting{fd, POLLOUT, 0};
    const int ready = ::poll(&waiting, 1, 100);
    if (ready > 0) return true;  // also on POLLERR: the write then says what is wrong
    if (ready < 0 && errno != EINTR) return true;
    if (std::chrono::steady_clock::now().time_since_epoch() >= deadline_.load()) return false;
  }
}

void Console::write_now(int fd, bool& open, std::string_view text) {
  // The descriptor is shared with whoever started us, so it must not be made non-blocking. After
  // poll() says yes, a pipe takes PIPE_BUF bytes without blocking; files take anything.
  struct stat info {};
  const bool is_file = ::fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
  while (open && !given_up_ && !text.empty()) {
    if (!is_file && !wait_writable(fd)) {
      given_up_ = true;
      break;
    }
    const ssize_t count =
        ::write(fd, text.data(), is_file ? text.size() : std::min<size_t>(text.size(), PIPE_BUF));
    if (count >= 0) {
      text.remove_prefix(static_cast<size_t>(count));
    } else if (errno != EINTR && errno != EAGAIN) {
      open = false;  // closed or full: the files still have every line
    }
  }
  dropped_bytes_ += text.size();
}

}  // namespace megalaunch
