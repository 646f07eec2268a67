#include "launcher/ranks/spawn.h"

#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/process/v2/posix/default_launcher.hpp>
#include <boost/process/v2/process.hpp>

namespace megalaunch {
namespace {

namespace process = boost::process::v2;

process::error_code last_error() {
  return {errno, boost::system::system_category()};
}

/// Custom initialiser for Boost.Process. on_exec_setup runs in the child between fork and exec,
/// where other threads' locks may be held for ever: async-signal-safe calls only. Also does what
/// Boost 1.81 has initialisers for: bind_fd::on_setup lacks its return statement there, and
/// process_environment does not link.
struct ChildSetup {
  const SpawnRequest& request;
  pid_t parent;
  std::vector<const char*> environment;  ///< ends in a null pointer
  cpu_set_t cpus;

  process::error_code on_setup(process::posix::default_launcher& launcher,
                               const boost::filesystem::path&, const char* const*) {
    launcher.env = environment.data();
    return {};
  }

  process::error_code on_exec_setup(process::posix::default_launcher&,
                                    const boost::filesystem::path&, const char* const*) {
    if (request.new_session ? ::setsid() < 0 : ::setpgid(0, 0) != 0) return last_error();
    if (!request.cpus.empty() && ::sched_setaffinity(0, sizeof cpus, &cpus) != 0)
      return last_error();
    if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return last_error();
    if (::getppid() != parent) ::_exit(127);  // the parent died before the line above took effect
    for (int signal = 1; signal < NSIG; ++signal) ::signal(signal, SIG_DFL);
    sigset_t none;
    ::sigemptyset(&none);
    if (::sigprocmask(SIG_SETMASK, &none, nullptr) != 0) return last_error();
    rlimit limit{};
    if (request.open_files && ::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
      limit.rlim_cur = *request.open_files;
      if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) return last_error();
    }
    if (::dup2(request.stdin_fd, STDIN_FILENO) < 0 ||
        ::dup2(request.stdout_fd, STDOUT_FILENO) < 0 ||
        ::dup2(request.stderr_fd, STDERR_FILENO) < 0)
      return last_error();
    // Boost 1.81 leaves descriptors between 2 and its own error pipe open; close-on-exec covers
    // them all and keeps that pipe working until exec.
    if (::syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC) != 0) return last_error();
    if (::chdir(request.cwd.c_str()) != 0) return last_error();
    return {};
  }

  /// Boost would call exit() next, which runs this process's exit handlers in the child. Takes
  /// anything because Boost 1.81 looks for one signature and calls another.
  template <class... Anything>
  void on_exec_error(Anything&&...) {
    ::_exit(127);
  }
};

}  // namespace

Result<pid_t> spawn(const SpawnRequest& request) {
  std::vector<const char*> environment;
  for (const std::string& variable : request.environment) environment.push_back(variable.c_str());
  environment.push_back(nullptr);
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  for (const int cpu : request.cpus)
    if (cpu >= 0 && cpu < CPU_SETSIZE) CPU_SET(static_cast<size_t>(cpu), &cpus);
  // A context of its own: Boost tells it about the fork, and the agent's reactor must not be
  // rebuilt in the child.
  boost::asio::io_context context;
  process::posix::default_launcher launcher;
  process::error_code error;
  auto child =
      launcher(context.get_executor(), error, boost::filesystem::path(request.program.native()),
               std::vector<std::string>(request.argv.begin() + 1, request.argv.end()),
               ChildSetup{request, ::getpid(), std::move(environment), cpus});
  if (error)
    return errno_error(error.value(), fmt::format("start {} in {}", request.program.string(),
                                                  request.cwd.string()));
  const pid_t pid = child.id();
  child.detach();  // or it would be killed with this object
  return pid;
}

}  // namespace megalaunch
