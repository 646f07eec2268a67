#include "rendezvous/gang/name_lookup.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <future>
#include <memory>

#include "tests/lib/processes.h"

namespace megalaunch {
namespace {

using namespace std::chrono_literals;
using testing::Contains;
using testing::HasSubstr;
using Answer = std::optional<Result<NameLookup::Endpoints>>;

/// A resolver that answers once it is allowed to.
struct SlowResolver {
  std::promise<void> gate;
  std::shared_future<void> opened = gate.get_future().share();
  std::shared_ptr<std::atomic<int>> asked = std::make_shared<std::atomic<int>>(0);

  NameLookup::Ask ask() const {
    return [opened = opened, asked = asked](const std::string&, uint16_t port) {
      ++*asked;
      opened.wait();
      return Result<NameLookup::Endpoints>({{boost::asio::ip::address_v4::loopback(), port}});
    };
  }
};

boost::asio::awaitable<void> resolve_into(NameLookup& lookup, std::string host,
                                          milliseconds patience, Answer& answer) {
  answer = co_await lookup.resolve(std::move(host), 29500, patience);
}

class NameLookupTest : public testing::Test {
 protected:
  Answer resolve(NameLookup& lookup, const std::string& host, milliseconds patience = 20s) {
    Answer answer;
    boost::asio::co_spawn(context_, resolve_into(lookup, host, patience, answer),
                          boost::asio::detached);
    EXPECT_TRUE(run_until(context_, [&] { return answer.has_value(); }));
    return answer;
  }
  boost::asio::io_context context_;
};

TEST_F(NameLookupTest, FindsTheAddressesOfANameWithThePort) {
  NameLookup lookup(context_);
  for (const char* host : {"localhost", "127.0.0.1"}) {
    const Answer answer = resolve(lookup, host);
    ASSERT_TRUE(*answer) << answer->error().message;
    const boost::asio::ip::tcp::endpoint loopback(boost::asio::ip::address_v4::loopback(), 29500);
    EXPECT_THAT(**answer, Contains(loopback));
  }
}

TEST_F(NameLookupTest, ANameThatDoesNotResolveIsNamed) {
  NameLookup lookup(context_);
  const Answer answer = resolve(lookup, "not a name");
  ASSERT_FALSE(*answer);
  EXPECT_THAT(answer->error().message, HasSubstr("the name 'not a name' does not resolve"));
}

TEST_F(NameLookupTest, ASilentResolverIsWaitedForWithPatienceAndAskedOnce) {
  SlowResolver resolver;
  NameLookup lookup(context_, resolver.ask());
  for (int i = 0; i < 3; ++i) {
    const Answer answer = resolve(lookup, "slow", 20ms);
    ASSERT_FALSE(*answer);
    EXPECT_EQ(answer->error().kind, Error::Kind::kTimeout);
  }
  resolver.gate.set_value();
  const Answer answer = resolve(lookup, "slow");
  ASSERT_TRUE(*answer) << answer->error().message;
  EXPECT_EQ((*answer)->size(), 1u);
  EXPECT_EQ(*resolver.asked, 1);
  EXPECT_TRUE(*resolve(lookup, "slow"));
  EXPECT_EQ(*resolver.asked, 2);
}

TEST_F(NameLookupTest, AnAddressNeedsNoResolver) {
  SlowResolver resolver;
  NameLookup lookup(context_, resolver.ask());
  for (const char* address : {"127.0.0.1", "::1"}) {
    const Answer answer = resolve(lookup, address, 0ms);
    ASSERT_TRUE(*answer) << answer->error().message;
    const boost::asio::ip::tcp::endpoint expected(boost::asio::ip::make_address(address), 29500);
    EXPECT_THAT(**answer, testing::ElementsAre(expected));
  }
  EXPECT_EQ(*resolver.asked, 0);
}

TEST_F(NameLookupTest, CancelEndsTheWait) {
  SlowResolver resolver;
  NameLookup lookup(context_, resolver.ask());
  Answer answer;
  boost::asio::co_spawn(context_, resolve_into(lookup, "slow", 600s, answer),
                        boost::asio::detached);
  ASSERT_TRUE(run_until(context_, [&] { return *resolver.asked == 1; }));
  lookup.cancel();
  ASSERT_TRUE(run_until(context_, [&] { return answer.has_value(); }));
  EXPECT_FALSE(*answer);
  resolver.gate.set_value();
}

TEST_F(NameLookupTest, NeitherItsEndNorTheContextsWaitsForTheResolver) {
  SlowResolver resolver;
  {
    boost::asio::io_context context;
    NameLookup lookup(context, resolver.ask());
    Answer answer;
    boost::asio::co_spawn(context, resolve_into(lookup, "slow", 10ms, answer),
                          boost::asio::detached);
    ASSERT_TRUE(run_until(context, [&] { return answer.has_value(); }));
  }
  resolver.gate.set_value();  // its thread finds nobody, and ends
}

}  // namespace
}  // namespace megalaunch
