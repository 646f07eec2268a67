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
#include <cerrno>
#include <string_view>

namespace megalaunch {
namespace {

namespace process = boost::process::v2;

/// What the child does between fork and exec, for the message when it cannot. Boost sends one int
/// to the parent: the step goes into its upper half, above errno.
enum class Step {
  kExec,
  kGroup,
  kCpus,
  kParentDeath,
  kSignals,
  kOpenFiles,
  kOutput,
  kDescriptors,
  kFolder
};
constexpr int kStepShift = 16;

std::string_view describe(Step step) {
  switch (step) {
    case Step::kExec:
      return "exec";
    case Step::kGroup:
      return "lead a process group";
    case Step::kCpus:
      return "bind it to its CPUs";
    case Step::kParentDeath:
      return "set the parent-death signal";
    case Step::kSignals:
      return "unblock signals";
    case Step::kOpenFiles:
      return "set the limit of open files";
    case Step::kOutput:
      return "connect its input and output";
    case Step::kDescriptors:
      return "close other descriptors";
    case Step::kFolder:
      return "enter its folder";
  }
  return "?";
}

process::error_code failed(Step step) {
  errno |= static_cast<int>(step) << kStepShift;  // Boost sends errno, whatever we return
  return {errno, boost::system::system_category()};
}

/// From the fork to the child's own reset no signal may run a handler of this process in the child:
/// Asio's writes into a pipe that both share, and the agent would take it for a second signal.
class BlockedSignals {
 public:
  BlockedSignals() {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~BlockedSignals() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  BlockedSignals(const BlockedSignals&) = delete;
  BlockedSignals& operator=(const BlockedSignals&) = delete;

 private:
  sigset_t before_{};
};

/// The strings as execve takes them; they stay owned by `strings`.
std::vector<const char*> pointers_to(const std::vector<std::string>& strings) {
  std::vector<const char*> pointers;
  for (const std::string& each : strings) pointers.push_back(each.c_str());
  pointers.push_back(nullptr);
  return pointers;
}

/// Custom initialiser for Boost.Process. on_exec_setup runs in the child between fork and exec,
/// where other threads' locks may be held for ever: async-signal-safe calls only. Also does what
/// Boost 1.81 has initialisers for: bind_fd::on_setup lacks its return statement there,
/// process_environment does not link, and argv[0] is always the program's path.
struct ChildSetup {
  const SpawnRequest& request;
  pid_t parent;
  std::vector<const char*> argv;
  std::vector<const char*> environment;
  cpu_set_t cpus;

  process::error_code on_setup(process::posix::default_launcher& launcher,
                               const boost::filesystem::path&, const char* const*& arguments) {
    launcher.env = environment.data();
    arguments = argv.data();
    return {};
  }

  process::error_code on_exec_setup(process::posix::default_launcher&,
                                    const boost::filesystem::path&, const char* const*) {
    if (request.new_session ? ::setsid() < 0 : ::setpgid(0, 0) != 0) return failed(Step::kGroup);
    if (!request.cpus.empty() && ::sched_setaffinity(0, sizeof cpus, &cpus) != 0)
      return failed(Step::kCpus);
    if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return failed(Step::kParentDeath);
    if (::getppid() != parent) ::_exit(127);  // the parent died before the line above took effect
    for (int signal = 1; signal < NSIG; ++signal) ::signal(signal, SIG_DFL);
    sigset_t none;
    ::sigemptyset(&none);
    if (::sigprocmask(SIG_SETMASK, &none, nullptr) != 0) return failed(Step::kSignals);
    rlimit limit{};
    if (request.open_files && ::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
      limit.rlim_cur = *request.open_files;
      if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) return failed(Step::kOpenFiles);
    }
    if (::dup2(request.stdin_fd, STDIN_FILENO) < 0 ||
        ::dup2(request.stdout_fd, STDOUT_FILENO) < 0 ||
        ::dup2(request.stderr_fd, STDERR_FILENO) < 0)
      return failed(Step::kOutput);
    // Boost 1.81 leaves descriptors between 2 and its own error pipe open; close-on-exec covers
    // them all and keeps that pipe working until exec.
    if (::syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC) != 0)
      return failed(Step::kDescriptors);
    if (::chdir(request.cwd.c_str()) != 0) return failed(Step::kFolder);
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
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  for (const int cpu : request.cpus)
    if (cpu >= 0 && cpu < CPU_SETSIZE) CPU_SET(static_cast<size_t>(cpu), &cpus);
  // A context of its own: Boost tells it about the fork, and the agent's reactor must not be
  // rebuilt in the child.
  boost::asio::io_context context;
  process::posix::default_launcher launcher;
  process::error_code error;
  const BlockedSignals blocked;
  auto child =
      launcher(context.get_executor(), error, boost::filesystem::path(request.program.native()),
               std::vector<std::string>(),
               ChildSetup{request, ::getpid(), pointers_to(request.argv),
                          pointers_to(request.environment), cpus});
  if (error) {
    const auto step = static_cast<Step>(error.value() >> kStepShift);
    return errno_error(error.value() & ((1 << kStepShift) - 1),
                       fmt::format("start {} in {}: {}", request.program.string(),
                                   request.cwd.string(), describe(step)));
  }
  const pid_t pid = child.id();
  child.detach();  // or it would be killed with this object
  return pid;
}

}  // namespace megalaunch
