#include "launcher/ranks/warden.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>

#include "launcher/ranks/process_tree.h"

namespace megalaunch {
namespace {

constexpr char kGoodbye = '.';
/// Looks for processes this often, until two looks in a row find none or the looks are used up (5
/// s).
constexpr int kLooks = 500;
constexpr long kLookPauseNanos = 10'000'000;

[[noreturn]] void guard(int lifeline, const std::string& marker) {
  ::setsid();
  ::prctl(PR_SET_NAME, "megalaunch-ward");
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGPIPE}) ::signal(signal, SIG_IGN);
  // Our copies of the agent's console and sockets must not keep them open.
  if (lifeline != STDERR_FILENO + 1) {
    ::dup2(lifeline, STDERR_FILENO + 1);
    lifeline = STDERR_FILENO + 1;
  }
  ::syscall(SYS_close_range, 4U, ~0U, 0);
  const int null = ::open("/dev/null", O_RDWR);
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::dup2(null, fd);

  char byte = 0;
  ssize_t count = 0;
  do {
    count = ::read(lifeline, &byte, 1);
  } while (count < 0 && errno == EINTR);
  if (count == 1 && byte == kGoodbye) ::_exit(0);

  int clean_looks = 0;
  for (int look = 0; look < kLooks && clean_looks < 2; ++look) {
    const auto found = processes_with_variable(marker);
    for (const pid_t pid : found) ::kill(pid, SIGKILL);
    clean_looks = found.empty() ? clean_looks + 1 : 0;
    const timespec pause{0, kLookPauseNanos};
    ::nanosleep(&pause, nullptr);
  }
  ::_exit(0);
}

}  // namespace

Result<Warden> Warden::start(const std::string& marker) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0)
    return errno_error(errno, "make a pipe for the warden process");
  UniqueFd read_end(ends[0]);
  UniqueFd write_end(ends[1]);
  const pid_t pid = ::fork();
  if (pid < 0) return errno_error(errno, "fork the warden process");
  if (pid == 0) {
    write_end.reset();
    guard(read_end.get(), marker);
  }
  return Warden(std::move(write_end));
}

void Warden::dismiss() {
  if (!lifeline_) return;
  [[maybe_unused]] const ssize_t count = ::write(lifeline_.get(), &kGoodbye, 1);
  lifeline_.reset();
}

}  // namespace megalaunch
