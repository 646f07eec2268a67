#include "launcher/gang/preparer.h"

#include <fcntl.h>
#include <signal.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <thread>

#include "env/file_aside.h"
#include "env/unique_fd.h"
#include "launcher/gang/rank_files.h"
#include "launcher/ranks/process_tree.h"
#include "launcher/ranks/program.h"
#include "launcher/ranks/reaper.h"
#include "launcher/ranks/spawn.h"

namespace megalaunch {
namespace {

constexpr size_t kShownTail = 2048;

std::string words_of(const PrepareStep& step) {
  std::string text;
  for (const std::string& word : step.run) text += (text.empty() ? "" : " ") + word;
  return text;
}

}  // namespace

std::filesystem::path node_steps_folder(const std::filesystem::path& run_dir, int node_rank,
                                        const std::string& host, const std::string& boot_id) {
  return run_dir / "prepared" / std::to_string(node_rank) / fmt::format("{}_{}", host, boot_id);
}

struct Preparer::State : std::enable_shared_from_this<State> {
  State(boost::asio::io_context& io, Reaper& reaper_ref, Log log_value, std::string marker_value)
      : context(io),
        reaper(reaper_ref),
        log(std::move(log_value)),
        marker(std::move(marker_value)),
        timer(io) {}

  void run(Work new_work, std::function<void(Status)> on_done) {
    work = std::move(new_work);
    done = std::move(on_done);
    next = 0;
    const size_t equals = marker.find('=');
    work.environment.set(marker.substr(0, equals), marker.substr(equals + 1));
    // The thread holds the context up through the work guard of the posted handler only when it
    // ends; the state lives on in its copy of the pointer.
    if (files_thread.joinable()) files_thread.join();
    files_thread = std::thread([self = shared_from_this(), directories = work.directories,
                                copies = work.copies, folder = work.folder.string()] {
      Status status = make_directories(directories);
      if (status) status = make_directories({folder});
      if (status) {
        auto copied = copy_files(copies);
        if (!copied) status = fail(std::move(copied).error());
      }
      boost::asio::post(self->context, [self, status] { self->files_done(status); });
    });
  }

  void files_done(const Status& status) {
    if (!done) return;
    if (!status) return finish(status);
    next_step();
  }

  void next_step() {
    std::error_code error;
    while (next < work.steps.size() &&
           std::filesystem::exists(marker_of(work.steps[next]), error)) {
      log.info("prepare step {} is done already: {}", next + 1, words_of(work.steps[next]));
      ++next;
    }
    if (error)
      return finish(errno_error(
          error.value(), fmt::format("prepare step failed: look whether it is done already, at {}",
                                     marker_of(work.steps[next]).string())));
    if (next == work.steps.size()) return finish({});
    if (auto started = start(work.steps[next]); !started) finish(std::move(started));
  }

  std::filesystem::path marker_of(const PrepareStep& step) const {
    return work.folder / prepare_marker_name(step);
  }
  std::filesystem::path log_file() const {
    return work.folder / fmt::format("step_{}.log", next + 1);
  }

  Status start(const PrepareStep& step) {
    auto program = find_program(step.run.front(),
                                work.environment.get("PATH").value_or("/usr/bin:/bin"), work.cwd);
    if (!program) return fail(std::move(program).error().within("prepare step failed"));
    const UniqueFd input(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    const UniqueFd output(
        ::open(log_file().c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
    if (!output)
      return errno_error(errno,
                         fmt::format("prepare step failed: open its log {}", log_file().string()));
    SpawnRequest request;
    request.program = *program;
    request.argv = step.run;
    request.environment = work.environment.to_strings();
    request.cwd = work.cwd;
    request.stdin_fd = input.get();
    request.stdout_fd = output.get();
    request.stderr_fd = output.get();
    auto started = spawn(request);
    if (!started) return fail(std::move(started).error().within("prepare step failed"));
    pid = *started;
    timed_out = false;
    log.info("prepare step {} of {} runs: {} (log {}, at most {} s)", next + 1, work.steps.size(),
             words_of(step), log_file().string(), step.timeout.count());
    reaper.watch(pid, [weak = weak_from_this()](WaitStatus status) {
      if (const auto self = weak.lock()) self->step_ended(status);
    });
    timer.expires_after(step.timeout);
    timer.async_wait([weak = weak_from_this()](const boost::system::error_code& error) {
      const auto self = weak.lock();
      if (error || !self || self->pid == 0) return;
      self->timed_out = true;
      self->kill_step();
    });
    return {};
  }

  /// With what left its process group: no rank has the marker while steps run.
  void kill_step() const {
    auto left = processes_with_variable(marker);
    const auto below = descendants_of({pid});
    left.insert(left.end(), below.begin(), below.end());
    ::kill(-pid, SIGKILL);
    for (const pid_t each : left) ::kill(each, SIGKILL);
  }

  void kill_marked() const {
    for (const pid_t each : processes_with_variable(marker)) ::kill(each, SIGKILL);
  }

  void stop() {
    done = nullptr;
    if (pid == 0) return;
    kill_step();
    kill_marked();  // who was started meanwhile
    pid = 0;
    timer.cancel();
  }

  void step_ended(const WaitStatus& status) {
    if (!done) return;  // we were stopped
    // Who was started between our look and our signal is found now.
    if (timed_out) kill_marked();
    pid = 0;
    timer.cancel();
    const PrepareStep& step = work.steps[next];
    if (succeeded(status)) {
      if (auto written = replace_file(marker_of(step), words_of(step) + "\n"); !written)
        return finish(written);
      ++next;
      return next_step();
    }
    const std::string how =
        timed_out ? fmt::format("was not done after {} s and was killed", step.timeout.count())
                  : describe(status);
    finish(fail(Error::Kind::kSystem, "prepare step failed: `{}` {}; its log {} ends:\n{}",
                words_of(step), how, log_file().string(), read_tail(log_file(), kShownTail)));
  }

  void finish(Status status) {
    if (done) std::exchange(done, nullptr)(std::move(status));
  }

  boost::asio::io_context& context;
  Reaper& reaper;
  Log log;
  std::string marker;
  boost::asio::steady_timer timer;
  std::thread files_thread;
  Work work;
  std::function<void(Status)> done;
  size_t next = 0;
  pid_t pid = 0;
  bool timed_out = false;
};

Preparer::Preparer(boost::asio::io_context& context, Reaper& reaper, Log log, std::string marker)
    : state_(std::make_shared<State>(context, reaper, std::move(log), std::move(marker))) {}

Preparer::~Preparer() {
  stop();
  if (state_->files_thread.joinable()) state_->files_thread.join();
}

void Preparer::run(Work work, std::function<void(Status)> done) {
  state_->run(std::move(work), std::move(done));
}

void Preparer::stop() {
  state_->stop();
}

}  // namespace megalaunch
