#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "env/clock.h"
#include "env/result.h"
#include "env/unique_fd.h"
#include "rendezvous/store/wire_format.h"

namespace megalaunch {

/// A blocking client of a c10d store, ours or torch's (2.2 and later), over one connection. Not
/// thread-safe. Keys are as on the wire: torch's Python puts a '/' in front of what its users
/// write, this class does not. Calls that wait for keys take a timeout and fail with kTimeout, and
/// the client remains usable. All other calls wait for the server for as long as the `patience`
/// given to connect(). After any error but a timeout of a wait the connection is closed and every
/// further call fails: a server tells all errors by closing.
class StoreClient {
 public:
  /// Resolves, connects, and exchanges VALIDATE and PING; one attempt per address. The error names
  /// host and port.
  static Result<StoreClient> connect(const std::string& host, uint16_t port,
                                     milliseconds patience = seconds(60));

  Status set(std::string_view key, std::string_view value);
  /// Waits for the key.
  Result<std::string> get(std::string_view key, milliseconds timeout);
  Result<int64_t> add(std::string_view key, int64_t delta);
  /// The value after it: `desired` where it was stored.
  Result<std::string> compare_set(std::string_view key, std::string_view expected,
                                  std::string_view desired);
  Result<bool> check(std::span<const std::string_view> keys);
  Status wait(std::span<const std::string_view> keys, milliseconds timeout);
  Result<int64_t> key_count();
  /// Whether the key was there.
  Result<bool> erase(std::string_view key);
  Status append(std::string_view key, std::string_view tail);
  /// Waits for all keys; values in the order of the keys.
  Result<std::vector<std::string>> multi_get(std::span<const std::string_view> keys,
                                             milliseconds timeout);
  /// Keys and values in turn.
  Status multi_set(std::span<const std::string_view> keys_and_values);
  Result<std::vector<std::string>> list_keys();

  Status queue_push(std::string_view key, std::string_view value);
  /// Nothing when the queue is empty. Does not wait; to wait, call wait() with the queue's key
  /// before.
  Result<std::optional<std::string>> queue_pop(std::string_view key);
  Result<int64_t> queue_length(std::string_view key);

  /// Returns when `world_size` callers have come. A key serves one barrier. Servers of torch
  /// before 2.12 close on it.
  Status barrier(std::string_view key, int64_t world_size, milliseconds timeout);

 private:
  StoreClient(UniqueFd socket, std::string peer, milliseconds patience)
      : socket_(std::move(socket)), peer_(std::move(peer)), patience_(patience) {}

  Status send(Operation operation, std::span<const std::string_view> strings, int64_t number = 0);
  Status send(Operation operation, std::initializer_list<std::string_view> strings,
              int64_t number = 0);
  Status receive(char* to, size_t size, SteadyTime deadline);
  template <class Integer>
  Result<Integer> receive_integer();
  Result<std::string> receive_counted();
  Status await_stop(milliseconds timeout, std::string_view what);
  tl::unexpected<Error> give_up(Error error);
  SteadyTime deadline() const { return std::chrono::steady_clock::now() + patience_; }

  UniqueFd socket_;
  std::string peer_;
  milliseconds patience_;

  // Received, not asked for yet: a list of many keys is not worth two system calls for each.
  std::vector<char> buffer_;
  size_t buffer_at_ = 0;
  size_t buffer_end_ = 0;
};

}  // namespace megalaunch
