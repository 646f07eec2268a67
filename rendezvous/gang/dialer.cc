#include "rendezvous/gang/dialer.h"

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <sstream>
#include <utility>

namespace megalaunch {
namespace {

namespace asio = boost::asio;
constexpr auto use_result = asio::as_tuple(asio::use_awaitable);

std::string text_of(const asio::ip::tcp::endpoint& endpoint) {
  std::ostringstream text;
  text << endpoint;
  return text.str();
}

void close(asio::ip::tcp::socket& socket) {
  boost::system::error_code ignored;
  socket.close(ignored);
}

}  // namespace

Dialer::Dialer(asio::io_context& context, milliseconds patience)
    : context_(context), patience_(patience), timer_(context) {}

Dialer::~Dialer() {
  cancel();
}

void Dialer::cancel() {
  cancelled_ = true;
  timer_.cancel();
  if (trying_) close(*trying_);
}

asio::awaitable<Result<Dialer::Socket>> Dialer::dial(Endpoints endpoints, SteadyTime deadline) {
  cancelled_ = false;
  Error last{Error::Kind::kUnavailable, 0, "the name has no address"};
  for (const auto& endpoint : endpoints) {
    // Shared with the timer, whose handler may be on its way when this coroutine has gone.
    const auto socket = std::make_shared<asio::ip::tcp::socket>(context_);
    trying_ = socket;
    const auto now = std::chrono::steady_clock::now();
    timer_.expires_at(std::min<SteadyTime>(deadline, now + patience_));
    timer_.async_wait([socket](const boost::system::error_code& error) {
      if (!error) close(*socket);
    });
    const auto [error] = co_await socket->async_connect(endpoint, use_result);
    timer_.cancel();
    trying_.reset();
    if (cancelled_) break;
    if (!error && socket->is_open()) co_return socket;
    const bool silent = !error || error == asio::error::operation_aborted;
    last.message = fmt::format("connecting to {} fails: {}", text_of(endpoint),
                               silent ? "no answer" : error.message());
    if (std::chrono::steady_clock::now() >= deadline) break;
  }
  co_return fail(std::move(last));
}

}  // namespace megalaunch
