#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "env/log.h"
#include "env/result.h"
#include "env/unique_fd.h"
#include "rendezvous/store/store_limits.h"
#include "rendezvous/store/wire_format.h"

namespace megalaunch {

/// What the store has done and what it holds. Counts since it started, but for the ones called
/// "now".
struct StoreStatistics {
  uint64_t connections_now = 0;
  uint64_t accepted = 0;
  uint64_t foreign = 0;  ///< connections that opened with the foreign magic
  uint64_t refused = 0;  ///< connections closed because of what they did or where they came from
  uint64_t operations = 0;
  uint64_t bytes_in = 0;
  uint64_t bytes_out = 0;
  uint64_t keys_now = 0;
  uint64_t memory_now = 0;  ///< what counts against StoreLimits::total_bytes
  uint64_t generation = 0;
};

/// A key-value store that torch's TCPStore clients of every release can use at the same time; see
/// wire_format.md. Runs its own threads, which sleep while nobody asks for anything. Every method
/// is thread-safe.
class StoreServer {
 public:
  struct Options {
    std::string bind_address;  ///< "" = every interface, IPv6 and IPv4 on one socket
    uint16_t port = 0;         ///< 0 = the kernel chooses
    int threads = 0;           ///< 0 = half of the cores, at least 1 and at most 8
    StoreLimits limits;
    std::optional<Dialect> expected_dialect;  ///< settles what bytes cannot tell: L1 or L2

    /// A connection whose first bytes are these is not the store's: it goes to `on_foreign` with
    /// nothing of it read. Called on a store thread, which it must not block; the socket is
    /// non-blocking. Must not destroy the server.
    std::string foreign_magic;
    std::function<void(UniqueFd socket)> on_foreign;
  };

  /// Bound and listening when it returns. The error names address, port and reason; Error::code is
  /// the errno. Raises this process's soft limit of open files to the hard one, and has its
  /// allocator join small freed pieces at once.
  static Result<std::unique_ptr<StoreServer>> listen(Options options, Log log);

  /// Stops accepting, closes every connection and ends the threads.
  ~StoreServer();
  StoreServer(const StoreServer&) = delete;
  StoreServer& operator=(const StoreServer&) = delete;

  uint16_t port() const;

  /// From now on only these numeric IP addresses, and loopback, may speak to the store; connections
  /// of others are closed. Before the first call everyone may. Foreign connections are let through
  /// from everywhere. What is not a numeric address is ignored with a warning.
  void admit_only(const std::vector<std::string>& addresses);

  /// An empty key space. Every connection made before the call is closed, and can neither read nor
  /// write a key of the new generation whatever it sends in the meantime.
  void start_generation();

  StoreStatistics statistics() const;

 private:
  class Impl;
  explicit StoreServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace megalaunch
