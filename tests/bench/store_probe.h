#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "env/result.h"
#include "tests/bench/latencies.h"

namespace megalaunch {

/// What store_load measures with clients that do one thing at a time.

Status fill_keys(const std::string& host, uint16_t port, int keys);

using ProbedOperation = std::pair<std::string, Latencies>;

/// Every kind of operation in turn for `seconds`; operations without a reply are timed with a GET
/// or the like behind them. With `list`, a second client lists all keys again and again meanwhile.
Result<std::vector<ProbedOperation>> probe_store(const std::string& host, uint16_t port,
                                                 double seconds, bool list);

/// A server of ours in this process with so many keys and connections, which a new generation does
/// away with: every kind of operation in it, from the moment that it started.
Result<std::vector<ProbedOperation>> probe_generation(int keys, int connections, double seconds);

}  // namespace megalaunch
