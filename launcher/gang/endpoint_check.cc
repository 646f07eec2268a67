#include "launcher/gang/endpoint_check.h"

#include <mutex>
#include <thread>
#include <utility>

#include "env/host.h"

namespace megalaunch {

struct EndpointCheck::State {
  std::mutex mutex;
  std::optional<Log> log;  ///< none once nobody wants the answer
};

EndpointCheck::EndpointCheck(std::string master_addr, Log log,
                             std::function<std::optional<bool>(const std::string&)> ask)
    : state_(std::make_shared<State>()) {
  state_->log = std::move(log);
  if (!ask) ask = is_this_machine;
  std::thread([state = state_, host = std::move(master_addr), ask = std::move(ask)] {
    const std::optional<bool> here = ask(host);
    const std::lock_guard lock(state->mutex);
    if (!state->log || here == true) return;
    if (!here)
      state->log->warn(
          "node 0's ranks will look for the store at MASTER_ADDR={}, a name that does not resolve "
          "here, or not yet: they wait for it. Check MASTER_ADDR.",
          host);
    else
      state->log->warn(
          "node 0's ranks will look for the store at MASTER_ADDR={}, which is none of this "
          "machine's addresses. If nothing there leads back to this machine, MASTER_ADDR is wrong "
          "or RANK=0 is on the wrong node.",
          host);
  }).detach();
}

EndpointCheck::~EndpointCheck() {
  const std::lock_guard lock(state_->mutex);
  state_->log.reset();
}

}  // namespace megalaunch
