#include "rendezvous/gang/gang_connection.h"

#include <algorithm>
#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <nlohmann/json.hpp>

namespace megalaunch {
namespace {

namespace asio = boost::asio;
constexpr auto use_result = asio::as_tuple(asio::use_awaitable);
constexpr size_t kMaxOutgoing = 64U << 20;

}  // namespace

GangConnection::GangConnection(asio::ip::tcp::socket socket)
    : socket_(std::move(socket)),
      silence_(socket_.get_executor()),
      linger_(socket_.get_executor()) {
  boost::system::error_code ignored;
  socket_.set_option(asio::ip::tcp::no_delay(true), ignored);
  const auto peer = socket_.remote_endpoint(ignored);
  auto address = peer.address();
  if (address.is_v6() && address.to_v6().is_v4_mapped())
    address = asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6());
  peer_address_ = address.to_string();
  peer_port_ = peer.port();
  loopback_ = address.is_loopback();
}

std::string GangConnection::peer() const {
  return peer_address_.find(':') == std::string::npos
             ? fmt::format("{}:{}", peer_address_, peer_port_)
             : fmt::format("[{}]:{}", peer_address_, peer_port_);
}

asio::awaitable<Result<nlohmann::json>> GangConnection::receive(milliseconds patience) {
  const auto self = shared_from_this();
  for (;;) {
    auto payload = reader_.next();
    if (!payload) co_return fail(std::move(payload).error());
    if (payload->has_value()) {
      auto message = nlohmann::json::parse(**payload, nullptr, /*allow_exceptions=*/false);
      if (!message.is_object() || !message.contains("type") || !message["type"].is_string())
        co_return fail(Error::Kind::kProtocol,
                       "the peer sent a frame that is no JSON object with a type");
      co_return message;
    }
    if (!socket_.is_open()) co_return fail(Error::Kind::kUnavailable, "the connection is closed");
    timed_out_ = false;
    silence_.expires_at(
        std::min<SteadyTime>(std::chrono::steady_clock::now() + patience, handshake_deadline_));
    // When this process was held up, the time-out and the bytes may both be there by now: then the
    // bytes count, and the time-out must not hit the read after this one.
    silence_.async_wait([self, read = ++reads_](const boost::system::error_code& error) {
      if (error || read != self->reads_) return;
      self->timed_out_ = true;
      boost::system::error_code ignored;
      self->socket_.cancel(ignored);
    });
    std::array<char, 8 * 1024> buffer;
    const auto [error, count] = co_await socket_.async_read_some(asio::buffer(buffer), use_result);
    ++reads_;
    silence_.cancel();
    if (timed_out_ && count == 0)
      co_return fail(Error::Kind::kTimeout, "nothing was heard for {} ms", patience.count());
    if (error == asio::error::eof)
      co_return fail(Error::Kind::kUnavailable, "the peer closed the connection");
    if (error) co_return fail(Error::Kind::kUnavailable, "{}", error.message());
    std::string_view bytes(buffer.data(), count);
    const size_t magic = std::min(magic_left_, bytes.size());
    bytes.remove_prefix(magic);  // whoever brought this socket has looked at it
    magic_left_ -= magic;
    reader_.feed(bytes);
  }
}

asio::awaitable<Result<nlohmann::json>> GangConnection::receive_after_magic(milliseconds patience) {
  magic_left_ = kGangMagic.size();
  return receive(patience);
}

void GangConnection::send(const nlohmann::json& message) {
  if (closing_ || !socket_.is_open()) return;
  // Log excerpts may hold any bytes; what is not UTF-8 is replaced.
  auto frame = encode_frame(message.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  outgoing_bytes_ += frame.size();
  if (outgoing_bytes_ > kMaxOutgoing) return close();
  outgoing_.push_back(std::move(frame));
  if (!writing_) write_next();
}

void GangConnection::send_last(const nlohmann::json& message, milliseconds patience) {
  send(message);
  closing_ = true;
  if (!writing_) return close();
  linger_.expires_after(patience);
  linger_.async_wait([self = shared_from_this()](const boost::system::error_code& error) {
    if (!error) self->close();
  });
}

void GangConnection::write_next() {
  writing_ = true;
  asio::async_write(socket_, asio::buffer(outgoing_.front()),
                    [self = shared_from_this()](const boost::system::error_code& error, size_t) {
                      self->writing_ = false;
                      if (error) return self->close();
                      self->outgoing_bytes_ -= self->outgoing_.front().size();
                      self->outgoing_.pop_front();
                      if (!self->outgoing_.empty()) return self->write_next();
                      // Close only our direction: data of the peer that we have not read would turn
                      // a full close into a reset, and our last words would be lost with it. The
                      // linger timer does the rest.
                      boost::system::error_code ignored;
                      if (self->closing_)
                        self->socket_.shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
                    });
}

void GangConnection::close() {
  closing_ = true;
  silence_.cancel();
  linger_.cancel();
  boost::system::error_code ignored;
  socket_.close(ignored);
}

}  // namespace megalaunch
