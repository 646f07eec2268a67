#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

namespace megalaunch {

/// Looks at /proc. A process that ends meanwhile is simply not there; nothing here fails.

/// All living descendants of `roots` (zombies left out), parents before children, in one look at
/// all processes. None of the roots may descend from another.
std::vector<pid_t> descendants_of(std::vector<pid_t> roots);

/// All living processes that were started with `NAME=VALUE` in their environment, this process left
/// out. Finds processes that left their group, session and parent, as long as they kept the
/// variable; needs permission to read their environment.
std::vector<pid_t> processes_with_variable(std::string_view name_equals_value);

/// The command line of a process for a message, arguments separated by blanks; its name in brackets
/// for kernel threads, "?" when it is gone.
std::string command_line_of(pid_t pid);

}  // namespace megalaunch
