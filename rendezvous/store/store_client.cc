#include "rendezvous/store/store_client.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "rendezvous/store/request_encoder.h"

namespace megalaunch {
namespace {

// A reply that claims more than this is not a reply.
constexpr size_t kBufferBytes = 64 * 1024;
constexpr uint64_t kLongestReply = uint64_t{4} << 30;

/// Waits until the socket is ready for `events`. False: the deadline passed.
bool await_socket(int socket, short events, SteadyTime deadline) {
  for (;;) {
    const auto left = std::chrono::ceil<milliseconds>(deadline - std::chrono::steady_clock::now());
    pollfd waiting{socket, events, 0};
    const auto limit = std::clamp<int64_t>(left.count(), 0, 1 << 30);
    const int ready = ::poll(&waiting, 1, static_cast<int>(limit));
    if (ready > 0) return true;
    if (ready == 0 && left.count() <= 0) return false;
  }
}

Result<UniqueFd> connect_to(const addrinfo& address, const std::string& peer, SteadyTime deadline) {
  UniqueFd socket(::socket(address.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket) return errno_error(errno, fmt::format("connect to {}: socket", peer));
  const int on = 1;
  ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  if (::connect(socket.get(), address.ai_addr, address.ai_addrlen) == 0) return socket;
  if (errno != EINPROGRESS) return errno_error(errno, fmt::format("connect to {}", peer));
  if (!await_socket(socket.get(), POLLOUT, deadline))
    return fail(Error::Kind::kTimeout, "connect to {}: no answer in time", peer);
  int error = 0;
  socklen_t size = sizeof(error);
  ::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) return errno_error(error, fmt::format("connect to {}", peer));
  return socket;
}

}  // namespace

Result<StoreClient> StoreClient::connect(const std::string& host, uint16_t port,
                                         milliseconds patience) {
  const std::string peer = fmt::format("store {}:{}", host, port);
  const auto deadline = std::chrono::steady_clock::now() + patience;
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int error = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
      error != 0)
    return fail(Error::Kind::kUnavailable, "connect to {}: {}", peer, ::gai_strerror(error));
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, &::freeaddrinfo);

  Result<UniqueFd> socket = fail(Error::Kind::kUnavailable, "connect to {}: no address", peer);
  for (const addrinfo* at = found; at != nullptr && !socket; at = at->ai_next)
    socket = connect_to(*at, peer, deadline);
  if (!socket) return fail(std::move(socket).error());

  StoreClient client(std::move(*socket), peer, patience);
  constexpr uint32_t kNonce = 0x4D4C4E43;
  if (auto sent = client.send(Operation::kValidate, {}, kMagicWord); !sent)
    return fail(std::move(sent).error());
  if (auto sent = client.send(Operation::kPing, {}, kNonce); !sent)
    return fail(std::move(sent).error());
  const auto echo = client.receive_integer<uint32_t>();
  if (!echo) return fail(echo.error());
  if (*echo != kNonce)
    return fail(Error::Kind::kProtocol, "{}: wrong answer to PING; is it a torch store?", peer);
  return client;
}

tl::unexpected<Error> StoreClient::give_up(Error error) {
  socket_.reset();
  return fail(std::move(error));
}

Status StoreClient::send(Operation operation, std::initializer_list<std::string_view> strings,
                         int64_t number) {
  return send(operation, std::span(strings.begin(), strings.size()), number);
}

Status StoreClient::send(Operation operation, std::span<const std::string_view> strings,
                         int64_t number) {
  if (!socket_) return fail(Error::Kind::kUnavailable, "{}: the connection is closed", peer_);
  std::string bytes;
  encode_request(bytes, Dialect::kMagic, operation, strings, number);
  const auto until = deadline();
  for (std::string_view left = bytes; !left.empty();) {
    const ssize_t sent = ::send(socket_.get(), left.data(), left.size(), MSG_NOSIGNAL);
    if (sent >= 0) {
      left.remove_prefix(static_cast<size_t>(sent));
    } else if (errno == EAGAIN) {
      if (!await_socket(socket_.get(), POLLOUT, until))
        return give_up({Error::Kind::kTimeout, 0, peer_ + ": takes no requests"});
    } else if (errno != EINTR) {
      return give_up(errno_error(errno, peer_ + ": send").value());
    }
  }
  return {};
}

/// A timeout leaves the connection as it is.
Status StoreClient::receive(char* to, size_t size, SteadyTime until) {
  if (!socket_) return fail(Error::Kind::kUnavailable, "{}: the connection is closed", peer_);
  for (;;) {
    const size_t buffered = std::min(size, buffer_end_ - buffer_at_);
    std::copy_n(buffer_.data() + buffer_at_, buffered, to);
    buffer_at_ += buffered;
    to += buffered;
    size -= buffered;
    if (size == 0) return {};
    buffer_.resize(kBufferBytes);
    const ssize_t received = ::recv(socket_.get(), buffer_.data(), buffer_.size(), 0);
    if (received > 0) {
      buffer_at_ = 0;
      buffer_end_ = static_cast<size_t>(received);
    } else if (received == 0) {
      return give_up({Error::Kind::kUnavailable, 0,
                      peer_ + ": closed the connection, which is how a store refuses a request"});
    } else if (errno == EAGAIN) {
      if (!await_socket(socket_.get(), POLLIN, until))
        return fail(Error::Kind::kTimeout, "{}: no answer in time", peer_);
    } else if (errno != EINTR) {
      return give_up(errno_error(errno, peer_ + ": receive").value());
    }
  }
}

template <class Integer>
Result<Integer> StoreClient::receive_integer() {
  char bytes[sizeof(Integer)];
  if (auto got = receive(bytes, sizeof(bytes), deadline()); !got)
    return give_up(std::move(got).error());
  return load_little<Integer>(bytes);
}

Result<std::string> StoreClient::receive_counted() {
  const auto length = receive_integer<uint64_t>();
  if (!length) return fail(length.error());
  if (*length > kLongestReply)
    return give_up(
        {Error::Kind::kProtocol, 0, fmt::format("{}: reply of {} bytes", peer_, *length)});
  std::string bytes(*length, '\0');
  if (auto got = receive(bytes.data(), bytes.size(), deadline()); !got)
    return give_up(std::move(got).error());
  return bytes;
}

Status StoreClient::await_stop(milliseconds timeout, std::string_view what) {
  char answer = 0;
  auto got = receive(&answer, 1, std::chrono::steady_clock::now() + timeout);
  if (got) return {};
  if (got.error().kind != Error::Kind::kTimeout) return fail(std::move(got).error());
  // Cancel. The answer to the wait may cross the cancellation; then it comes first.
  if (auto sent = send(Operation::kCancelWait, {}); !sent) return fail(std::move(sent).error());
  do {
    const auto byte = receive_integer<uint8_t>();
    if (!byte) return fail(byte.error());
    answer = static_cast<char>(*byte);
  } while (answer != kWaitCanceled);
  return fail(Error::Kind::kTimeout, "{}: {} not there after {} ms", peer_, what, timeout.count());
}

Status StoreClient::set(std::string_view key, std::string_view value) {
  return send(Operation::kSet, {key, value});
}

Status StoreClient::wait(std::span<const std::string_view> keys, milliseconds timeout) {
  if (auto sent = send(Operation::kWait, keys); !sent) return sent;
  std::string names;
  for (const auto key : keys) names += fmt::format("{}{}", names.empty() ? "" : ", ", key);
  return await_stop(timeout, names);
}

Result<std::string> StoreClient::get(std::string_view key, milliseconds timeout) {
  if (auto there = wait({&key, 1}, timeout); !there) return fail(std::move(there).error());
  if (auto sent = send(Operation::kGet, {key}); !sent) return fail(std::move(sent).error());
  return receive_counted();
}

Result<int64_t> StoreClient::add(std::string_view key, int64_t delta) {
  if (auto sent = send(Operation::kAdd, {key}, delta); !sent) return fail(std::move(sent).error());
  return receive_integer<int64_t>();
}

Result<std::string> StoreClient::compare_set(std::string_view key, std::string_view expected,
                                             std::string_view desired) {
  if (auto sent = send(Operation::kCompareSet, {key, expected, desired}); !sent)
    return fail(std::move(sent).error());
  return receive_counted();
}

Result<bool> StoreClient::check(std::span<const std::string_view> keys) {
  if (auto sent = send(Operation::kCheck, keys); !sent) return fail(std::move(sent).error());
  const auto answer = receive_integer<uint8_t>();
  if (!answer) return fail(answer.error());
  return static_cast<char>(*answer) == kReady;
}

Result<int64_t> StoreClient::key_count() {
  if (auto sent = send(Operation::kKeyCount, {}); !sent) return fail(std::move(sent).error());
  return receive_integer<int64_t>();
}

Result<bool> StoreClient::erase(std::string_view key) {
  if (auto sent = send(Operation::kDelete, {key}); !sent) return fail(std::move(sent).error());
  const auto erased = receive_integer<int64_t>();
  if (!erased) return fail(erased.error());
  return *erased != 0;
}

Status StoreClient::append(std::string_view key, std::string_view tail) {
  return send(Operation::kAppend, {key, tail});
}

Result<std::vector<std::string>> StoreClient::multi_get(std::span<const std::string_view> keys,
                                                        milliseconds timeout) {
  if (auto there = wait(keys, timeout); !there) return fail(std::move(there).error());
  if (auto sent = send(Operation::kMultiGet, keys); !sent) return fail(std::move(sent).error());
  std::vector<std::string> values;
  for (size_t index = 0; index < keys.size(); ++index) {
    auto value = receive_counted();
    if (!value) return fail(std::move(value).error());
    values.push_back(std::move(*value));
  }
  return values;
}

Status StoreClient::multi_set(std::span<const std::string_view> keys_and_values) {
  return send(Operation::kMultiSet, keys_and_values);
}

Result<std::vector<std::string>> StoreClient::list_keys() {
  if (auto sent = send(Operation::kListKeys, {}); !sent) return fail(std::move(sent).error());
  const auto count = receive_integer<int64_t>();
  if (!count) return fail(count.error());
  std::vector<std::string> keys;
  for (int64_t index = 0; index < *count; ++index) {
    auto key = receive_counted();
    if (!key) return fail(std::move(key).error());
    keys.push_back(std::move(*key));
  }
  return keys;
}

Status StoreClient::queue_push(std::string_view key, std::string_view value) {
  return send(Operation::kQueuePush, {key, value});
}

Result<std::optional<std::string>> StoreClient::queue_pop(std::string_view key) {
  if (auto sent = send(Operation::kQueuePop, {key}); !sent) return fail(std::move(sent).error());
  const auto size_before = receive_integer<int64_t>();
  if (!size_before) return fail(size_before.error());
  if (*size_before == 0) return std::optional<std::string>();
  auto value = receive_counted();
  if (!value) return fail(std::move(value).error());
  return std::optional(std::move(*value));
}

Result<int64_t> StoreClient::queue_length(std::string_view key) {
  if (auto sent = send(Operation::kQueueLength, {key}); !sent) return fail(std::move(sent).error());
  return receive_integer<int64_t>();
}

Status StoreClient::barrier(std::string_view key, int64_t world_size, milliseconds timeout) {
  if (auto sent = send(Operation::kBarrier, {key}, world_size); !sent) return sent;
  return await_stop(timeout, fmt::format("barrier {}", key));
}

}  // namespace megalaunch
