#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace megalaunch {

/// The divisors of `number`, ascending; nothing for numbers below 1.
std::vector<std::int64_t> divisors(std::int64_t number);

/// The largest multiple of `step` below or at `number` and the smallest above, without those
/// below 1.
std::vector<std::int64_t> nearest_multiples(std::int64_t number, std::int64_t step);

/// The numbers from 1 to `limit` (at most 4096) that pass, those nearest to `wanted` first, at most
/// `count`, then in ascending order.
std::vector<std::int64_t> nearest_that_pass(std::int64_t wanted, std::int64_t limit, size_t count,
                                            const std::function<bool(std::int64_t)>& passes);

/// "use 1, 2 or 4"; "nothing passes" when there is nothing.
std::string use_one_of(const std::vector<std::int64_t>& numbers, const std::string& and_also = "");

}  // namespace megalaunch
