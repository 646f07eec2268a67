#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "env/clock.h"
#include "env/log.h"
#include "env/result.h"
#include "env/unique_fd.h"

namespace boost::asio {
class io_context;
}

namespace megalaunch {

/// Node 0's end of the agents' channel: proves and checks the job key, hands over who joins, what
/// they say, and that they are gone; answers pings. Knows nothing of what the messages mean. Does
/// not listen: sockets are brought to it. Belongs to the thread that runs the context, but for
/// adopt().
class GangServer {
 public:
  using MemberId = uint64_t;  ///< one connection; a node that comes back gets a new one

  struct Options {
    std::string version;  ///< of megalaunch; agents of another are refused
    std::string job;
    std::string key;  ///< empty: the gang is open
    milliseconds heartbeat_timeout{5000};
    milliseconds handshake_timeout{10'000};  ///< from the first byte to the proof
  };
  /// Called from the context.
  struct Events {
    /// A proven agent asks to join with these details. The value is its welcome; an error's message
    /// is the reason that it is refused with (kUnavailable: it may try again).
    std::function<Result<nlohmann::json>(MemberId, const nlohmann::json& details,
                                         const std::string& address)>
        on_join;
    /// After its welcome was queued.
    std::function<void(MemberId)> on_joined;
    std::function<void(MemberId, const nlohmann::json& message)> on_message;
    std::function<void(MemberId, const std::string& why)> on_lost;
  };

  GangServer(boost::asio::io_context& context, Options options, Log log, Events events);
  /// Closes every connection without a word and calls no event any more.
  ~GangServer();
  GangServer(const GangServer&) = delete;
  GangServer& operator=(const GangServer&) = delete;

  /// Takes a connection whose first bytes are kGangMagic, not read yet. Thread-safe.
  void adopt(UniqueFd socket);

  void send(MemberId member, const nlohmann::json& message);
  /// Says a last message. The peer is expected to close then; on_lost is called when it has, or
  /// when `patience` is over.
  void dismiss(MemberId member, const nlohmann::json& message, milliseconds patience);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace megalaunch
