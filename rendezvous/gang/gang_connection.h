#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <deque>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "env/clock.h"
#include "env/result.h"
#include "rendezvous/gang/frame.h"

namespace megalaunch {

/// One socket of the agents' channel, either side: JSON objects in and out, and an ear for silence.
/// Internal to this folder. Lives in a shared_ptr; belongs to the thread of its socket's executor.
class GangConnection : public std::enable_shared_from_this<GangConnection> {
 public:
  explicit GangConnection(boost::asio::ip::tcp::socket socket);

  /// The next object. Fails when the peer closed (kUnavailable), sent what is no JSON object
  /// (kProtocol), or was silent for `patience` (kTimeout). One call at a time.
  boost::asio::awaitable<Result<nlohmann::json>> receive(milliseconds patience);

  /// The first object of a connection whose magic has not been read yet.
  boost::asio::awaitable<Result<nlohmann::json>> receive_after_magic(milliseconds patience);

  /// Queues an object. A peer that lets more than 64 MiB pile up is cut off.
  void send(const nlohmann::json& message);
  /// Queues an object and closes our direction once it is written; the rest when the peer has
  /// closed, or after `patience`.
  void send_last(const nlohmann::json& message, milliseconds patience = seconds(1));
  /// Closes at once; a pending receive() fails.
  void close();

  /// Until trust_peer() no receive() waits beyond this, however the peer dribbles.
  void set_handshake_deadline(SteadyTime deadline) { handshake_deadline_ = deadline; }
  void trust_peer() {
    reader_.trust_peer();
    handshake_deadline_ = SteadyTime::max();
  }
  bool is_open() const { return socket_.is_open(); }
  /// Numeric address of the peer, v4-mapped ones as plain IPv4.
  const std::string& peer_address() const { return peer_address_; }
  std::string peer() const;
  bool is_loopback() const { return loopback_; }

 private:
  void write_next();

  boost::asio::ip::tcp::socket socket_;
  boost::asio::steady_timer silence_;
  boost::asio::steady_timer linger_;
  FrameReader reader_;
  size_t magic_left_ = 0;
  std::deque<std::string> outgoing_;
  size_t outgoing_bytes_ = 0;
  bool writing_ = false;
  bool closing_ = false;
  uint64_t reads_ = 0;  ///< tells the silence after one read from that after the next
  bool timed_out_ = false;
  SteadyTime handshake_deadline_ = SteadyTime::max();
  bool loopback_ = false;
  std::string peer_address_;
  unsigned short peer_port_ = 0;
};

}  // namespace megalaunch
