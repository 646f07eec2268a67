#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "env/clock.h"
#include "env/platform.h"
#include "env/result.h"

namespace megalaunch {

/// What --rdzv-conf sets. Keys that tune torch's own protocol are accepted and mean nothing here.
struct RendezvousConf {
  std::optional<bool> is_host;               ///< nothing: whoever has the endpoint's address
  std::optional<seconds> join_timeout;       ///< for all nodes to be there
  std::optional<seconds> last_call_timeout;  ///< for nodes beyond the minimum
  std::optional<seconds> timeout;            ///< the join time-out of the static back end
  std::optional<seconds> heartbeat_timeout;  ///< a node that is silent for this long is lost
};

/// `key=value,...`. Errors (kRefused): no key, no value, a value that its key cannot have, and
/// store_type=file. `timeout` is read for the static back end alone: for the others it is one of
/// torch's own keys, and may be anything.
Result<RendezvousConf> parse_rendezvous_conf(std::string_view text, bool is_static);

/// `host`, `host:port`, `[v6]`, `[v6]:port`; nothing stands for localhost. Without a port:
/// `default_port`.
Result<Endpoint> parse_rendezvous_endpoint(std::string_view text, int default_port);

}  // namespace megalaunch
