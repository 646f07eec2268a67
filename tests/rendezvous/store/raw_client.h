#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "env/clock.h"
#include "env/unique_fd.h"

namespace megalaunch {

/// A TCP connection to 127.0.0.1 that sends and expects bytes, for tests which misbehave.
class RawClient {
 public:
  explicit RawClient(uint16_t port, const char* from = nullptr)
      : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    if (from != nullptr) bind_to(from);
    sockaddr_in address = loopback(port);
    connected_ =
        ::connect(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
    EXPECT_TRUE(connected_) << strerror(errno);
    const int on = 1;
    ::setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  }

  void send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return;  // the test sees it in what it receives
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
  }

  /// Exactly `size` bytes; fewer when the peer closed or said nothing for five seconds.
  std::string receive(size_t size) {
    std::string bytes;
    while (bytes.size() < size && readable(seconds(5))) {
      char buffer[65536];
      const ssize_t got =
          ::recv(socket_.get(), buffer, std::min(sizeof(buffer), size - bytes.size()), 0);
      if (got <= 0) break;
      bytes.append(buffer, static_cast<size_t>(got));
    }
    return bytes;
  }

  /// Whether the peer closes within `patience`, whatever it sends before.
  bool closed_within(milliseconds patience) {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    for (;;) {
      const auto left =
          std::chrono::duration_cast<milliseconds>(deadline - std::chrono::steady_clock::now());
      if (left.count() < 0 || !readable(left)) return false;
      char buffer[65536];
      if (::recv(socket_.get(), buffer, sizeof(buffer), 0) <= 0) return true;
    }
  }

  bool readable(milliseconds patience) {
    pollfd waiting{socket_.get(), POLLIN, 0};
    return ::poll(&waiting, 1, static_cast<int>(patience.count())) > 0;
  }

  /// Closes with a reset instead of a goodbye, as a killed peer behind a firewall does.
  void reset() {
    const linger now{1, 0};
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    socket_.reset();
  }
  void close() { socket_.reset(); }
  void finish_sending() { ::shutdown(socket_.get(), SHUT_WR); }
  void set_receive_buffer(int bytes) {
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
  }
  int fd() const { return socket_.get(); }

 private:
  static sockaddr_in loopback(uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
  }
  void bind_to(const char* from) {
    sockaddr_in address = loopback(0);
    ::inet_pton(AF_INET, from, &address.sin_addr);
    EXPECT_EQ(::bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  }

  UniqueFd socket_;
  bool connected_ = false;
};

/// Polls `condition` until it holds. False after ten seconds: for states that have no descriptor to
/// wait for.
template <class Condition>
bool eventually(Condition condition) {
  const auto deadline = std::chrono::steady_clock::now() + seconds(10);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    ::poll(nullptr, 0, 1);
  }
  return true;
}

}  // namespace megalaunch
