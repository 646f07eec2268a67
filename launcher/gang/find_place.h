#pragma once

#include <signal.h>

#include <functional>
#include <optional>
#include <string>

#include "env/clock.h"
#include "env/log.h"
#include "env/result.h"

namespace megalaunch {

/// Whether a node is the one that the endpoint names.
struct Place {
  bool here = false;
  std::optional<int> interrupted_by;  ///< a signal ended the search; `here` says nothing
};

/// `host` as is_this_machine() sees it. While its name does not resolve, asks again until
/// `patience` is over: then it is an error (kTimeout). Returns at once when one of `signals`, which
/// the caller has blocked, is sent, however long the resolver takes. Blocks; says what it waits
/// for.
///
/// `ask` runs on a thread of its own, which outlives this call if it does not return.
Result<Place> find_place(const std::string& host, milliseconds patience, const sigset_t& signals,
                         const Log& log,
                         std::function<std::optional<bool>(const std::string&)> ask = {});

}  // namespace megalaunch
