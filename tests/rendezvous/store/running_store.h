#pragma once

#include <gtest/gtest.h>

#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "rendezvous/store/request_encoder.h"
#include "rendezvous/store/store_client.h"
#include "rendezvous/store/store_server.h"

namespace megalaunch {

/// A store of two threads on a port of loopback, unless `options` say otherwise.
inline std::unique_ptr<StoreServer> start(StoreServer::Options options = {},
                                          Log log = Log::to_nowhere()) {
  if (options.bind_address.empty()) options.bind_address = "127.0.0.1";
  if (options.threads == 0) options.threads = 2;
  auto server = StoreServer::listen(std::move(options), std::move(log));
  EXPECT_TRUE(server) << (server ? "" : server.error().message);
  return std::move(*server);
}

inline std::unique_ptr<StoreServer> start(const StoreLimits& limits, Log log = Log::to_nowhere()) {
  StoreServer::Options options;
  options.limits = limits;
  return start(std::move(options), std::move(log));
}

inline StoreClient connect(const StoreServer& server) {
  auto client = StoreClient::connect("127.0.0.1", server.port(), seconds(10));
  EXPECT_TRUE(client) << (client ? "" : client.error().message);
  return std::move(*client);
}

/// Requests of torch 1.13, and of 2.2 and later.
inline std::string legacy(Operation operation, std::initializer_list<std::string_view> strings = {},
                          int64_t number = 0) {
  return encode_request(Dialect::kL1, operation, strings, number);
}
inline std::string magic(Operation operation, std::initializer_list<std::string_view> strings = {},
                         int64_t number = 0) {
  return encode_request(Dialect::kMagic, operation, strings, number);
}
/// With which the latter open.
inline const std::string kOpening(kMagicOpening);

}  // namespace megalaunch
