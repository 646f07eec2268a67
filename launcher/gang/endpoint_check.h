#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "env/log.h"

namespace megalaunch {

/// Warns on node 0 when its ranks will look elsewhere for the store: their MASTER_ADDR does not
/// resolve, or is another machine. Otherwise they wait for torch's whole time-out, and say at its
/// end only that they could not connect. No more than a warning: a name may be published once the
/// node is up, and the address of a balancer that leads here is none of this machine.
///
/// The resolver is asked on a thread of its own, which outlives this object if it does not answer;
/// `log` is not used any more then.
class EndpointCheck {
 public:
  /// `ask` is is_this_machine() but in tests.
  EndpointCheck(std::string master_addr, Log log,
                std::function<std::optional<bool>(const std::string&)> ask = {});
  ~EndpointCheck();
  EndpointCheck(const EndpointCheck&) = delete;
  EndpointCheck& operator=(const EndpointCheck&) = delete;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace megalaunch
