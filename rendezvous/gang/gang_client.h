#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "env/clock.h"
#include "env/log.h"
#include "rendezvous/gang/clock_offset.h"

namespace boost::asio {
class io_context;
}

namespace megalaunch {

/// An agent's end of the channel to node 0: finds it, retrying while its name does not resolve or
/// nobody listens, joins, keeps the heartbeat, measures the clock offset. Belongs to the thread
/// that runs the context.
class GangClient {
 public:
  struct Options {
    std::string host;  ///< of node 0, a name or an address
    uint16_t port = 0;
    std::string version;
    std::string job;
    std::string key;
    milliseconds join_timeout{600'000};  ///< for one connect(), over all its tries
    milliseconds heartbeat_timeout{5000};
  };
  /// Called from the context; exactly one of the last three ends a connect().
  struct Events {
    std::function<void(const nlohmann::json& welcome)> on_welcome;
    std::function<void(const nlohmann::json& message)> on_message;
    /// Node 0 does not want us, or we do not trust it: for good, or still a second after the
    /// heartbeat time-out, by when a dead agent in our place would be forgotten. Trying again is
    /// useless.
    std::function<void(const std::string& reason)> on_refused;
    /// The join time-out passed before a welcome; the text says what was tried last.
    std::function<void(const std::string& why)> on_unreachable;
    /// Node 0 is gone after it had welcomed us.
    std::function<void(const std::string& why)> on_lost;
  };

  GangClient(boost::asio::io_context& context, Options options, Log log, Events events);
  /// Closes and calls no event any more.
  ~GangClient();
  GangClient(const GangClient&) = delete;
  GangClient& operator=(const GangClient&) = delete;

  /// Starts to look for node 0 and to join it with these details. Again after on_lost, to knock
  /// until it is back.
  void connect(nlohmann::json details);
  /// Dropped before the welcome and after a loss.
  void send(const nlohmann::json& message);
  /// Closes the connection; on_lost is not called.
  void close();

  /// Nothing before the first heartbeat was answered.
  std::optional<ClockOffset::Estimate> clock_offset() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace megalaunch
