#include "launcher/gang/node.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <cerrno>
#include <utility>

#include "env/exit_code.h"
#include "env/platform.h"
#include "launcher/gang/endpoint_check.h"
#include "launcher/gang/find_place.h"
#include "launcher/ranks/process_tree.h"
#include "launcher/ranks/reaper.h"
#include "launcher/ranks/warden.h"
#include "launcher/results/nvml_monitor.h"
#include "rendezvous/gang/proof.h"

namespace megalaunch {
namespace {

namespace asio = boost::asio;

/// How long storage that stalls may hold up the end.
constexpr milliseconds kStoragePatience{2000};

/// Descriptors 0 to 2 must exist, or the first socket would become somebody's standard output.
void open_standard_descriptors() {
  int fd = ::open("/dev/null", O_RDWR);
  while (fd >= 0 && fd <= STDERR_FILENO) fd = ::open("/dev/null", O_RDWR);
  if (fd > STDERR_FILENO) ::close(fd);
}

/// Opens the driver's library when it is asked first: it costs 20 MiB and some milliseconds.
std::function<std::vector<GpuHolder>()> gpu_holders() {
  return [gpus = std::shared_ptr<GpuMonitor>(), opened = false]() mutable {
    if (!std::exchange(opened, true))
      if (auto nvml = open_nvml()) gpus = std::move(*nvml);
    return gpus ? gpus->holders() : std::vector<GpuHolder>();
  };
}

void listen_for_signals(asio::signal_set& signals, Agent& agent) {
  signals.async_wait([&signals, &agent](const boost::system::error_code& error, int signal) {
    if (error) return;
    listen_for_signals(signals, agent);
    agent.interrupt(signal);
  });
}

/// When nothing else can speak any more.
void note(const std::string& text) {
  const std::string line = "megalaunch: " + text + "\n";
  [[maybe_unused]] const ssize_t count = ::write(STDERR_FILENO, line.data(), line.size());
}

/// The signals that mean to stop. Held back until somebody listens: the kernel drops what PID 1 has
/// no handler for.
sigset_t stop_signals() {
  sigset_t set;
  ::sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGQUIT}) ::sigaddset(&set, signal);
  return set;
}

}  // namespace

void hold_back_stop_signals() {
  const sigset_t stopping = stop_signals();
  ::sigprocmask(SIG_BLOCK, &stopping, nullptr);
}

Result<int> run_node(NodeOptions options) {
  hold_back_stop_signals();
  const sigset_t stopping = stop_signals();
  open_standard_descriptors();
  ::signal(SIGPIPE, SIG_IGN);
  // Orphans of our ranks come to us, not to the machine's init; as PID 1 they do anyway.
  if (::prctl(PR_SET_CHILD_SUBREAPER, 1) != 0)
    return errno_error(errno, "become the subreaper of the ranks");
  options.agent.marker = fmt::format("MEGALAUNCH_AGENT={}", fresh_nonce());
  auto warden = Warden::start(options.agent.marker);
  if (!warden) return fail(std::move(warden).error());
  rlimit open_files{};
  if (::getrlimit(RLIMIT_NOFILE, &open_files) == 0) options.agent.open_files = open_files.rlim_cur;

  const SystemClock clock;
  asio::io_context context;
  Reaper reaper(context);
  std::shared_ptr<RunMonitor> monitor;
  LogPump::Observer observer;
  if (options.monitor) {
    monitor = std::make_shared<RunMonitor>(clock, *options.monitor);
    observer = [watcher = monitor.get()](const LogPump::Source& source, std::string_view line,
                                         SteadyTime read_at) {
      if (source.stream == Console::Stream::kOut) watcher->see_line(source.rank, line, read_at);
    };
  }
  LogPump pump(STDOUT_FILENO, STDERR_FILENO, std::move(observer));
  const Log log = Log::to_function(
      [&pump](Log::Level, std::string_view line) { pump.message(line); }, options.log_level);

  if (monitor) monitor->start(context, pump, log);
  options.agent.monitor = monitor;
  Preparer preparer(context, reaper, log, options.agent.marker);
  if (options.preparation)
    options.agent.prepare = [&preparer, work_for = options.preparation](const Welcome& welcome,
                                                                        bool first, auto done) {
      auto work = work_for(welcome, first);
      if (!work) return done(fail(std::move(work).error()));
      preparer.run(std::move(*work), std::move(done));
    };

  if (options.leader && options.undecided && !options.undecided->endpoint_host.empty()) {
    auto place =
        find_place(options.undecided->endpoint_host, options.agent.join_timeout, stopping, log);
    if (!place || place->interrupted_by) {
      if (!place) log.error("{}", place.error().message);
      warden->dismiss();
      pump.finish(options.console_patience);
      return place ? exit_code_of_signal(*place->interrupted_by) : kExitNodesMissing;
    }
    if (!place->here) {
      options.leader.reset();
      options.agent.node_rank = options.undecided->node_rank;
    }
  }

  if (count_gpus().value_or(0) > 0) options.agent.gpus.holders = gpu_holders();

  std::optional<int> agent_code, leader_code;
  std::unique_ptr<Leader> leader;
  std::optional<EndpointCheck> endpoint_check;
  const auto stop_when_over = [&] {
    if (agent_code && (leader_code || !leader)) context.stop();
  };
  if (options.leader) {
    options.leader->show = [&pump](Console::Stream stream, std::string_view prefix,
                                   std::string_view line) {
      return pump.show(stream, prefix, line);
    };
    auto started = Leader::start(context, clock, log, options.rules, std::move(*options.leader),
                                 [&](int code) {
                                   leader_code = code;
                                   stop_when_over();
                                 });
    if (started) {
      leader = std::move(*started);
      // find_place() knows already.
      if (!options.undecided || options.undecided->endpoint_host.empty())
        endpoint_check.emplace(options.agent.master_addr, log);
      options.agent.leader_host = "127.0.0.1";
      options.agent.leader_port = leader->port();
    } else if (options.undecided && options.undecided->join_if_port_taken &&
               started.error().code == EADDRINUSE) {
      options.agent.node_rank = options.undecided->node_rank;
    } else {
      pump.finish(options.console_patience);
      return fail(std::move(started).error());
    }
  }
  Agent agent(context, reaper, clock, log, pump, std::move(options.agent), [&](int code) {
    agent_code = code;
    // Where it leaves before the job's end, there is no gang without it.
    if (leader && !leader_code) leader->end(code, "the agent of node 0 left");
    stop_when_over();
  });
  asio::signal_set signals(context);
  for (const int signal : options.signals) signals.add(signal);
  listen_for_signals(signals, agent);
  ::sigprocmask(SIG_UNBLOCK, &stopping, nullptr);
  agent.start();
  context.run();

  if (monitor) monitor->stop();
  preparer.stop();
  warden->dismiss();
  const int exit_code = leader_code.value_or(agent_code.value_or(1));
  const uint64_t not_shown = pump.finish(options.console_patience);
  // The console is what is stuck, so this may not be seen either.
  if (not_shown > 0)
    note(fmt::format("{} bytes of output were not shown; the log files have them", not_shown));
  const uint64_t not_kept = monitor ? monitor->finish(kStoragePatience) : 0;
  if (not_kept > 0 && not_shown == 0)
    note(fmt::format("{} samples of training were not kept; storage did not take them", not_kept));
  return exit_code;
}

}  // namespace megalaunch
