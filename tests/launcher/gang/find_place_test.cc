#include "launcher/gang/find_place.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pthread.h>

#include <atomic>
#include <future>
#include <memory>

namespace megalaunch {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

/// Blocks SIGUSR1 in this thread, as run_node() does with the signals that stop it.
class FindPlace : public testing::Test {
 protected:
  FindPlace() {
    ::sigemptyset(&signals_);
    ::sigaddset(&signals_, SIGUSR1);
    ::pthread_sigmask(SIG_BLOCK, &signals_, &before_);
  }
  ~FindPlace() override { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

  Result<Place> find(std::function<std::optional<bool>(const std::string&)> ask,
                     milliseconds patience = 60s) {
    return find_place("head", patience, signals_, Log::to_nowhere(), std::move(ask));
  }

  sigset_t signals_{};
  sigset_t before_{};
};

TEST_F(FindPlace, AsksAgainUntilTheNameResolves) {
  const auto asked = std::make_shared<std::atomic<int>>(0);
  const auto place = find([asked](const std::string& host) -> std::optional<bool> {
    EXPECT_EQ(host, "head");
    return ++*asked == 3 ? std::optional(true) : std::nullopt;
  });
  ASSERT_TRUE(place) << place.error().message;
  EXPECT_TRUE(place->here);
  EXPECT_EQ(place->interrupted_by, std::nullopt);
  EXPECT_EQ(*asked, 3);
}

TEST_F(FindPlace, AnotherMachineIsAnAnswerToo) {
  const auto place = find([](const std::string&) { return std::optional(false); });
  ASSERT_TRUE(place);
  EXPECT_FALSE(place->here);
}

TEST_F(FindPlace, ANameThatNeverResolvesIsAnError) {
  const auto place =
      find([](const std::string&) -> std::optional<bool> { return std::nullopt; }, 200ms);
  ASSERT_FALSE(place);
  EXPECT_EQ(place.error().kind, Error::Kind::kTimeout);
  EXPECT_THAT(place.error().message, HasSubstr("'head'"));
}

TEST_F(FindPlace, NeitherASignalNorTheEndWaitsForAResolverThatHangs) {
  const auto release = std::make_shared<std::promise<void>>();
  const auto hangs = [gate = release->get_future().share()](const std::string&) {
    gate.wait();
    return std::optional(true);
  };
  EXPECT_FALSE(find(hangs, 200ms));
  ::pthread_kill(::pthread_self(), SIGUSR1);
  const auto place = find(hangs);
  ASSERT_TRUE(place);
  EXPECT_EQ(place->interrupted_by, SIGUSR1);
  release->set_value();
}

}  // namespace
}  // namespace megalaunch
