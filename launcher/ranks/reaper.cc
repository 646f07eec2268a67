#include "launcher/ranks/reaper.h"

#include <signal.h>
#include <sys/wait.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <unordered_map>
#include <utility>

namespace megalaunch {

struct Reaper::State : std::enable_shared_from_this<State> {
  explicit State(boost::asio::io_context& context) : signals(context, SIGCHLD) {}

  void wait_for_signal() {
    signals.async_wait([self = shared_from_this()](const boost::system::error_code& error, int) {
      if (error) return;
      // One SIGCHLD may stand for many ends: collect them all, then wait again.
      self->wait_for_signal();
      self->reap_all();
    });
  }

  void reap_all() {
    int raw_status = 0;
    for (pid_t pid = 0; (pid = ::waitpid(-1, &raw_status, WNOHANG | WUNTRACED | WCONTINUED)) > 0;) {
      const auto found = watched.find(pid);
      if (found == watched.end()) continue;  // an orphan that came to us
      if (WIFSTOPPED(raw_status) || WIFCONTINUED(raw_status)) {
        const PauseHandler paused = found->second.paused;  // it may watch the next child
        if (paused) paused(WIFSTOPPED(raw_status) ? WSTOPSIG(raw_status) : 0);
        continue;
      }
      const Handler ended = std::move(found->second.ended);
      watched.erase(found);
      ended(wait_status_from(raw_status));
    }
  }

  struct Watched {
    Handler ended;
    PauseHandler paused;
  };

  boost::asio::signal_set signals;
  std::unordered_map<pid_t, Watched> watched;
};

Reaper::Reaper(boost::asio::io_context& context) : state_(std::make_shared<State>(context)) {
  state_->wait_for_signal();
}

Reaper::~Reaper() {
  boost::system::error_code ignored;
  state_->signals.cancel(ignored);
  state_->watched.clear();
}

void Reaper::watch(pid_t pid, Handler handler, PauseHandler paused) {
  state_->watched[pid] = {std::move(handler), std::move(paused)};
}

}  // namespace megalaunch
