#include "env/result.h"

#include <system_error>

namespace megalaunch {

std::string errno_text(int error_number) {
  return std::generic_category().message(error_number);
}

tl::unexpected<Error> errno_error(int error_number, std::string_view what) {
  return tl::unexpected<Error>(Error{Error::Kind::kSystem, error_number,
                                     fmt::format("{}: {}", what, errno_text(error_number))});
}

}  // namespace megalaunch
