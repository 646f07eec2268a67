#include "rendezvous/gang/dialer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <optional>

#include "tests/lib/processes.h"

namespace megalaunch {
namespace {

using namespace std::chrono_literals;
using boost::asio::ip::tcp;
using testing::HasSubstr;
using Answer = std::optional<Result<Dialer::Socket>>;

tcp::endpoint any_port() {
  return {boost::asio::ip::address_v4::loopback(), 0};
}

/// An address that swallows packets: a listener whose queue is full, so that the kernel drops every
/// further SYN.
class SilentAddress {
 public:
  explicit SilentAddress(boost::asio::io_context& context) : listener_(context) {
    listener_.open(tcp::v4());
    listener_.bind(any_port());
    listener_.listen(0);
    for (int filling = 0; filling < 4; ++filling) {
      fillers_.emplace_back(context);
      fillers_.back().async_connect(endpoint(), [](const boost::system::error_code&) {});
    }
  }
  tcp::endpoint endpoint() const { return listener_.local_endpoint(); }

 private:
  tcp::acceptor listener_;
  std::vector<tcp::socket> fillers_;
};

boost::asio::awaitable<void> dial_into(Dialer& dialer, Dialer::Endpoints endpoints,
                                       milliseconds limit, Answer& answer) {
  const SteadyTime deadline = std::chrono::steady_clock::now() + limit;
  answer = co_await dialer.dial(std::move(endpoints), deadline);
}

class DialerTest : public testing::Test {
 protected:
  void start(Dialer& dialer, const Dialer::Endpoints& endpoints, milliseconds limit = 1h) {
    boost::asio::co_spawn(context_, dial_into(dialer, endpoints, limit, answer_),
                          boost::asio::detached);
  }
  bool finish() {
    return run_until(context_, [&] { return answer_.has_value(); });
  }
  void expect_the_live_one() {
    ASSERT_TRUE(finish());
    ASSERT_TRUE(*answer_) << answer_->error().message;
    EXPECT_EQ(answer_->value()->remote_endpoint(), live_.local_endpoint());
  }

  boost::asio::io_context context_;
  SilentAddress silent_{context_};
  tcp::acceptor live_{context_, any_port()};
  Answer answer_;
};

TEST_F(DialerTest, AnAddressThatSwallowsPacketsDoesNotKeepItFromTheNext) {
  Dialer dialer(context_, 50ms);
  start(dialer, {silent_.endpoint(), live_.local_endpoint()});
  expect_the_live_one();
}

TEST_F(DialerTest, TheFirstThatAnswersIsTaken) {
  Dialer dialer(context_, 1h);
  start(dialer, {live_.local_endpoint(), silent_.endpoint()});
  expect_the_live_one();
}

TEST_F(DialerTest, SaysWhichAddressWasTriedLastAndWhatItSaid) {
  const tcp::endpoint refusing = live_.local_endpoint();
  live_.close();
  Dialer dialer(context_, 50ms);
  start(dialer, {silent_.endpoint(), refusing});
  ASSERT_TRUE(finish());
  ASSERT_FALSE(*answer_);
  EXPECT_EQ(answer_->error().message,
            fmt::format("connecting to 127.0.0.1:{} fails: Connection refused", refusing.port()));
}

TEST_F(DialerTest, ItsDeadlineEndsItBeforeThePatienceDoes) {
  Dialer dialer(context_, 1h);
  start(dialer, {silent_.endpoint(), live_.local_endpoint()}, 50ms);
  ASSERT_TRUE(finish());
  ASSERT_FALSE(*answer_);
  EXPECT_THAT(answer_->error().message, HasSubstr("fails: no answer"));
}

TEST_F(DialerTest, CancelEndsItNow) {
  Dialer dialer(context_, 1h);
  start(dialer, {silent_.endpoint(), live_.local_endpoint()});
  context_.run_for(10ms);
  ASSERT_FALSE(answer_);
  dialer.cancel();
  ASSERT_TRUE(finish());
  EXPECT_FALSE(*answer_);
}

}  // namespace
}  // namespace megalaunch
