#include "env/host.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "env/cgroup.h"
#include "env/unique_fd.h"

namespace megalaunch {
namespace {

using testing::Contains;
using testing::HasSubstr;

/// A socket bound to a free port of the family's loopback address.
UniqueFd bound(int family, uint16_t& port) {
  UniqueFd fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_storage address{};
  socklen_t size = family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
  if (family == AF_INET) {
    reinterpret_cast<sockaddr_in&>(address).sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  } else {
    reinterpret_cast<sockaddr_in6&>(address).sin6_addr = in6addr_loopback;
  }
  address.ss_family = static_cast<sa_family_t>(family);
  if (!fd || ::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size) != 0) return {};
  ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size);
  port = ntohs(family == AF_INET ? reinterpret_cast<sockaddr_in&>(address).sin_port
                                 : reinterpret_cast<sockaddr_in6&>(address).sin6_port);
  return fd;
}

TEST(Host, HasAName) {
  EXPECT_FALSE(host_name().empty());
}

TEST(Host, ItsBootHasAnIdThatStaysTheSameAndIsFitForAFileName) {
  EXPECT_EQ(boot_id().size(), 36u);
  EXPECT_EQ(boot_id(), boot_id());
  EXPECT_EQ(boot_id().find_first_not_of("0123456789abcdef-"), std::string::npos);
}

TEST(Host, ItsAddressesIncludeLoopback) {
  EXPECT_THAT(interface_addresses(), Contains("127.0.0.1"));
}

TEST(Host, KnowsItselfByNameAndAddress) {
  for (const char* name : {"localhost", "127.0.0.1", "127.1.2.3"})
    EXPECT_EQ(is_this_machine(name), true) << name;
  EXPECT_EQ(is_this_machine(host_name()), true);
  for (const std::string& address : interface_addresses())
    if (!address.starts_with("fe80:")) {
      EXPECT_EQ(is_this_machine(address), true) << address;
    }
}

TEST(Host, DoesNotTakeAnotherMachineForItself) {
  for (const char* name : {"192.0.2.1", "2001:db8::1", "", "not a name"})
    EXPECT_NE(is_this_machine(name), true) << name;
}

TEST(Host, SaysWhoListensOnAPort) {
  for (const int family : {AF_INET, AF_INET6}) {
    uint16_t port = 0;
    const UniqueFd fd = bound(family, port);
    if (!fd) continue;  // no IPv6 here
    EXPECT_EQ(listener_on(port), std::nullopt) << "bound, but nobody listens yet";
    ASSERT_EQ(::listen(fd.get(), 1), 0);
    const auto listener = listener_on(port);
    ASSERT_TRUE(listener);
    EXPECT_THAT(*listener, HasSubstr("(pid " + std::to_string(::getpid()) + ": "));
  }
}

TEST(Host, AnUnknownOrSizelessDiskIsNotFull) {
  EXPECT_FALSE(disk_is_full("/proc"));
  EXPECT_FALSE(disk_is_full("/nowhere"));
}

TEST(Cgroup, OutOfMemoryKillsAreCountedOrUnknownButNeverNegative) {
  const auto count = count_oom_kills();
  if (!count) GTEST_SKIP() << "no memory cgroup can be read here";
  EXPECT_GE(*count, 0);
  EXPECT_EQ(count_oom_kills(), count);
}

}  // namespace
}  // namespace megalaunch
