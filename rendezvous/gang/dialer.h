#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <memory>
#include <vector>

#include "env/clock.h"
#include "env/result.h"

namespace boost::asio {
class io_context;
}

namespace megalaunch {

/// Connects to a machine that has several addresses. Each is tried for `patience`, in their order,
/// so that one that swallows packets does not keep the caller from the next. (Asio's async_connect
/// over a range knows no time.) Internal to this folder; belongs to the thread that runs the
/// context.
class Dialer {
 public:
  using Endpoints = std::vector<boost::asio::ip::tcp::endpoint>;
  using Socket = std::shared_ptr<boost::asio::ip::tcp::socket>;

  Dialer(boost::asio::io_context& context, milliseconds patience);
  ~Dialer();
  Dialer(const Dialer&) = delete;
  Dialer& operator=(const Dialer&) = delete;

  /// A connection to the first that takes one, not null. Fails with what the last one said
  /// (kUnavailable), with its address; at `deadline` at the latest. One call at a time; the object
  /// lives until it has returned.
  boost::asio::awaitable<Result<Socket>> dial(Endpoints endpoints, SteadyTime deadline);
  /// Ends dial() now.
  void cancel();

 private:
  boost::asio::io_context& context_;
  const milliseconds patience_;
  boost::asio::steady_timer timer_;
  Socket trying_;           ///< null: none
  bool cancelled_ = false;  ///< since dial() began
};

}  // namespace megalaunch
