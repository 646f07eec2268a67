#include "launcher/torchrun/rendezvous_options.h"

#include <gmock/gmock.h>

namespace megalaunch {
namespace {

using testing::HasSubstr;

TEST(RendezvousConf, ReadsTheTimesAndTheHost) {
  const auto conf = parse_rendezvous_conf(
      " join_timeout=60 ,last_call_timeout = 5,timeout=900,is_host=Yes,read_timeout=7", true);
  ASSERT_TRUE(conf) << conf.error().message;
  EXPECT_EQ(conf->join_timeout, seconds(60));
  EXPECT_EQ(conf->last_call_timeout, seconds(5));
  EXPECT_EQ(conf->timeout, seconds(900));
  EXPECT_EQ(conf->is_host, true);
  EXPECT_EQ(parse_rendezvous_conf("is_host=f", false)->is_host, false);
  EXPECT_EQ(parse_rendezvous_conf("", false)->is_host, std::nullopt);
}

TEST(RendezvousConf, RefusesMissingAndImpossibleValues) {
  for (const char* text : {"a", "a=", "=1", "a=1,", ",", "join_timeout=0", "join_timeout=x",
                           "is_host=maybe", "store_type=file"})
    EXPECT_FALSE(parse_rendezvous_conf(text, true)) << text;
  EXPECT_THAT(parse_rendezvous_conf("a", true).error().message, HasSubstr("'a' has no value"));
}

TEST(RendezvousConf, TheStaticTimeoutIsNobodysBusinessElsewhere) {
  // As torch's own tests write it: in quotes that no shell takes away.
  const char* text = "'last_call_timeout=10,timeout=5'";
  EXPECT_FALSE(parse_rendezvous_conf(text, true));
  const auto conf = parse_rendezvous_conf(text, false);
  ASSERT_TRUE(conf) << conf.error().message;
  EXPECT_EQ(conf->timeout, std::nullopt);
}

TEST(RendezvousEndpoint, TakesNamesAndAddressesWithAndWithoutPort) {
  const auto of = [](const char* text) { return parse_rendezvous_endpoint(text, 29400).value(); };
  EXPECT_EQ(of("node-0:1234"), (Endpoint{"node-0", 1234}));
  EXPECT_EQ(of("node-0"), (Endpoint{"node-0", 29400}));
  EXPECT_EQ(of(""), (Endpoint{"localhost", 29400}));
  EXPECT_EQ(of("[::1]:7"), (Endpoint{"::1", 7}));
  EXPECT_EQ(of("[::1]"), (Endpoint{"::1", 29400}));
  EXPECT_EQ(of(" localhost:0 "), (Endpoint{"localhost", 0}));
}

TEST(RendezvousEndpoint, RefusesPortsAndHostsThatAreNone) {
  for (const char* text : {"a:", "a:x", "a:65536", "a:123456", ":1", "a b:1", "a/b", "a:-1"})
    EXPECT_FALSE(parse_rendezvous_endpoint(text, 29400)) << text;
}

}  // namespace
}  // namespace megalaunch
