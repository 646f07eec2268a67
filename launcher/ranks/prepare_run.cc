#include "launcher/ranks/prepare_run.h"

#include <fcntl.h>
#include <fmt/ranges.h>
#include <signal.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <fstream>
#include <iterator>

#include "env/unique_fd.h"
#include "launcher/job/preparation.h"
#include "launcher/ranks/program.h"
#include "launcher/ranks/reaper.h"
#include "launcher/ranks/spawn.h"

namespace megalaunch {
namespace {

namespace fs = std::filesystem;
namespace asio = boost::asio;

constexpr std::streamoff kTailBytes = 4096;
constexpr size_t kTailLines = 10;

/// The last lines of a log, for an error message.
std::string tail_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) return "";
  file.seekg(std::max<std::streamoff>(static_cast<std::streamoff>(file.tellg()) - kTailBytes, 0));
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  while (!text.empty() && text.back() == '\n') text.pop_back();
  size_t from = text.size();
  for (size_t lines = 0; lines < kTailLines && from != std::string::npos && from > 0; ++lines)
    from = text.rfind('\n', from - 1);
  return from == std::string::npos || from == 0 ? text : text.substr(from + 1);
}

}  // namespace

struct PrepareRun::State : std::enable_shared_from_this<State> {
  State(asio::io_context& context, Reaper& reaper, Log log, Options options,
        std::function<void(Status)> done)
      : context(context),
        reaper(reaper),
        log(std::move(log)),
        options(std::move(options)),
        done(std::move(done)),
        timer(context) {}

  const PrepareStep& step() const { return options.steps[index]; }
  std::string name() const {
    return fmt::format("prepare step {} of {} ({})", index + 1, options.steps.size(),
                       fmt::join(step().run, " "));
  }
  fs::path log_path() const { return options.log_dir / fmt::format("prepare-{}.log", index + 1); }
  fs::path marker() const {
    const fs::path& folder =
        step().on == PrepareStep::On::kFirst ? options.shared_markers : options.local_markers;
    return folder / prepare_marker_name(step());
  }

  void finish(Status status) {
    timer.cancel();
    if (auto call = std::exchange(done, nullptr)) call(std::move(status));
  }

  void next() {
    for (; index < options.steps.size(); ++index) {
      std::error_code error;
      const bool mine = step().on == PrepareStep::On::kEach || options.first;
      if (mine && fs::exists(marker(), error))
        log.info("{} was done before: {}", name(), marker().string());
      else if (mine)
        break;
    }
    if (index == options.steps.size()) return finish({});
    if (auto status = begin(); !status) finish(fail(std::move(status).error().within(name())));
  }

  Status begin() {
    if (auto status = make_directories({options.log_dir.string(), marker().parent_path().string()});
        !status)
      return status;
    auto program = find_program(
        step().run.front(), options.environment.get("PATH").value_or("/usr/bin:/bin"), options.cwd);
    if (!program) return fail(std::move(program).error());
    const UniqueFd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    const UniqueFd output(
        ::open(log_path().c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
    if (!null || !output)
      return errno_error(errno, fmt::format("cannot write {}", log_path().string()));
    log.info("{} starts; log: {}", name(), log_path().string());
    SpawnRequest request;
    request.program = *program;
    request.argv = step().run;
    request.environment = options.environment.to_strings();
    request.cwd = options.cwd;
    request.stdin_fd = null.get();
    request.stdout_fd = request.stderr_fd = output.get();
    auto started = spawn(request);
    if (!started) return fail(std::move(started).error());
    pid = *started;
    reaper.watch(pid, [weak = weak_from_this()](const WaitStatus& status) {
      if (auto self = weak.lock()) self->ended(status);
    });
    wait(step().timeout, &State::time_out);
    return {};
  }

  void wait(milliseconds time, void (State::*then)()) {
    timer.expires_after(time);
    timer.async_wait([weak = weak_from_this(), then](const boost::system::error_code& error) {
      auto self = weak.lock();
      if (!error && self) (*self.*then)();
    });
  }

  void signal_group(int signal) const {
    if (pid > 0) ::kill(-pid, signal);
  }
  void terminate() {
    signal_group(SIGTERM);
    signal_group(SIGCONT);
    wait(options.grace, &State::kill);
  }
  void time_out() {
    timed_out = true;
    terminate();
  }
  void kill() { signal_group(SIGKILL); }

  void ended(const WaitStatus& status) {
    signal_group(SIGKILL);  // what it left behind in its group
    pid = 0;
    timer.cancel();
    if (!succeeded(status) || timed_out || stopped) return finish(fail(failure(status)));
    log.info("{} is done", name());
    if (auto written = write_file(marker(), fmt::format("{}\n", fmt::join(step().run, " ")));
        !written)
      log.warn("{}: it will run again after a restart: {}", name(), written.error().message);
    ++index;
    next();
  }

  Error failure(const WaitStatus& status) const {
    const std::string how =
        timed_out ? fmt::format("ran past its timeout of {} s", step().timeout.count())
        : stopped ? "was stopped"
                  : describe(status);
    const std::string tail = tail_of(log_path());
    return {timed_out ? Error::Kind::kTimeout : Error::Kind::kSystem, 0,
            fmt::format("{} {}; log: {}{}{}", name(), how, log_path().string(),
                        tail.empty() ? "" : "\n", tail)};
  }

  asio::io_context& context;
  Reaper& reaper;
  Log log;
  Options options;
  std::function<void(Status)> done;
  asio::steady_timer timer;
  size_t index = 0;
  pid_t pid = 0;
  bool timed_out = false;
  bool stopped = false;
};

PrepareRun::PrepareRun(asio::io_context& context, Reaper& reaper, Log log, Options options,
                       std::function<void(Status)> done)
    : state_(std::make_shared<State>(context, reaper, std::move(log), std::move(options),
                                     std::move(done))) {}

PrepareRun::~PrepareRun() {
  state_->done = nullptr;
  state_->timer.cancel();
  state_->kill();
}

void PrepareRun::start() {
  asio::post(state_->context, [weak = std::weak_ptr<State>(state_)] {
    if (auto state = weak.lock()) state->next();
  });
}

void PrepareRun::stop() {
  state_->stopped = true;
  if (state_->pid > 0) {
    state_->terminate();
  } else {
    state_->finish(fail(Error::Kind::kSystem, "the preparation was stopped"));
  }
}

}  // namespace megalaunch
