#include "launcher/gang/line_sender.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>

#include "launcher/gang/line_relay.h"

namespace megalaunch {

namespace asio = boost::asio;

struct LineSender::State : std::enable_shared_from_this<State> {
  State(asio::io_context& io, std::function<void(LinesNews)> send_function)
      : context(io), send(std::move(send_function)), timer(io) {}

  void wait() {
    const auto due = relay.due();
    if (!due || !connected) return;
    timer.expires_at(*due);
    timer.async_wait([weak = weak_from_this()](const boost::system::error_code& error) {
      const auto self = weak.lock();
      if (error || !self || !self->connected) return;
      if (auto lines = self->relay.take(std::chrono::steady_clock::now()))
        self->send(std::move(*lines));
      else
        self->wait();
    });
  }

  asio::io_context& context;
  std::function<void(LinesNews)> send;
  asio::steady_timer timer;
  LineRelay relay;
  bool connected = false;
};

LineSender::LineSender(asio::io_context& context, std::function<void(LinesNews)> send)
    : state_(std::make_shared<State>(context, std::move(send))) {}

LineSender::~LineSender() {
  set_connected(false);
}

std::function<void(std::string_view)> LineSender::tap(int rank, Console::Stream stream) {
  return [weak = state_->weak_from_this(), rank, stream](std::string_view line) {
    const auto self = weak.lock();
    if (!self || !self->relay.add(rank, stream, line, std::chrono::steady_clock::now())) return;
    asio::post(self->context, [weak] {
      if (const auto still = weak.lock()) still->wait();
    });
  };
}

void LineSender::set_connected(bool connected) {
  state_->connected = connected;
  state_->timer.cancel();
  state_->relay.forget();
}

void LineSender::arrived() {
  state_->relay.arrived();
  state_->wait();
}

}  // namespace megalaunch
