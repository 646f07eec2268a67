#pragma once

#include <fmt/core.h>

#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace megalaunch {

/// What went wrong. `kind` is for the caller, who may act on it; `message` is for a person and says
/// what was tried, on what (path, host, rank), why it failed and, where it can be known, what to
/// do.
struct Error {
  enum class Kind {
    kUsage,        ///< a flag, the job file or the environment is wrong: exit 2
    kRefused,      ///< the checks refuse: exit 3
    kSystem,       ///< the operating system said no; `code` is its errno
    kTimeout,      ///< a deadline passed
    kProtocol,     ///< a peer sent what it must not send
    kUnavailable,  ///< a peer or resource is not there (yet)
  };

  Kind kind = Kind::kSystem;
  int code = 0;
  std::string message;

  /// The same error with `context: ` in front of its message.
  Error within(std::string_view context) && {
    message.insert(0, fmt::format("{}: ", context));
    return std::move(*this);
  }
};

/// A value, or why there is none. Exceptions are for bugs and failed start-up only.
template <class T>
using Result = tl::expected<T, Error>;
using Status = Result<void>;

/// `return fail(Error::Kind::kUsage, "no such key '{}'", key);`
template <class... Args>
tl::unexpected<Error> fail(Error::Kind kind, fmt::format_string<Args...> format, Args&&... args) {
  return tl::unexpected<Error>(Error{kind, 0, fmt::format(format, std::forward<Args>(args)...)});
}

/// Passes an error on: `if (!x) return fail(std::move(x).error());`
inline tl::unexpected<Error> fail(Error error) {
  return tl::unexpected<Error>(std::move(error));
}

/// The one place that turns errno into an Error: "<what>: <strerror>". Pass errno at once; `what`
/// may disturb it.
tl::unexpected<Error> errno_error(int error_number, std::string_view what);

/// The text of an errno value, thread-safe: "No such file or directory".
std::string errno_text(int error_number);

}  // namespace megalaunch
