#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace megalaunch {

/// This machine's own name as the kernel has it; "localhost" when it has none.
std::string host_name();

/// The kernel's id of its present boot, another one after each; empty where it does not tell.
std::string boot_id();

/// Numeric addresses of this machine's interfaces that are up, loopback included, without IPv6
/// scopes.
std::vector<std::string> interface_addresses();

/// Whether `host` (a name or an address) is this machine: "localhost", its own name, or a name or
/// address that resolves to one of its interfaces. Nothing when it does not resolve, now at least.
/// Asks the resolver, so it may block for as long as that does.
std::optional<bool> is_this_machine(const std::string& host);

/// Who listens on a TCP port of this machine: "nginx (pid 812: nginx -g daemon off;)". Nothing when
/// nobody does or the process belongs to somebody else.
std::optional<std::string> listener_on(uint16_t port);

/// Whether the file system of `path` has no room for a few lines more (statvfs). False when it
/// cannot be asked, and for those that have no size.
bool disk_is_full(const std::filesystem::path& path);

}  // namespace megalaunch
