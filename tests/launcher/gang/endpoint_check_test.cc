#include "launcher/gang/endpoint_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace megalaunch {
namespace {

using testing::HasSubstr;

/// What is said when the resolver answers so about "head".
std::string warning_about(std::optional<bool> answer) {
  std::promise<std::string> said;
  const Log log = Log::to_function([&](Log::Level level, std::string_view line) {
    EXPECT_EQ(level, Log::Level::kWarning);
    said.set_value(std::string(line));
  });
  const EndpointCheck check("head", log, [answer](const std::string& host) {
    EXPECT_EQ(host, "head");
    return answer;
  });
  return said.get_future().get();
}

TEST(EndpointCheck, WarnsOfANameThatDoesNotResolve) {
  EXPECT_THAT(warning_about(std::nullopt),
              HasSubstr("MASTER_ADDR=head, a name that does not resolve"));
}

TEST(EndpointCheck, WarnsOfAnotherMachine) {
  EXPECT_THAT(warning_about(false), HasSubstr("MASTER_ADDR=head, which is none of this machine's"));
}

/// A resolver that answers when it is told to, on a thread of its own, whose end can be waited for.
struct SlowResolver {
  struct End {
    std::promise<void> promise;
    ~End() { promise.set_value(); }
  };
  std::promise<std::optional<bool>> answer;
  std::shared_ptr<End> end = std::make_shared<End>();
  std::future<void> ended = end->promise.get_future();

  std::function<std::optional<bool>(const std::string&)> ask() {
    // Goes with the thread that runs it.
    auto future = std::make_shared<std::future<std::optional<bool>>>(answer.get_future());
    return
        [future, held = std::exchange(end, nullptr)](const std::string&) { return future->get(); };
  }
};

TEST(EndpointCheck, IsSilentWhenTheNameIsThisMachine) {
  SlowResolver resolver;
  bool said = false;
  const EndpointCheck check(
      "head", Log::to_function([&](Log::Level, std::string_view) { said = true; }), resolver.ask());
  resolver.answer.set_value(true);
  resolver.ended.wait();
  EXPECT_FALSE(said);
}

TEST(EndpointCheck, ItsEndNeitherWaitsForTheResolverNorHearsIt) {
  SlowResolver resolver;
  bool said = false;
  {
    const EndpointCheck check("head",
                              Log::to_function([&](Log::Level, std::string_view) { said = true; }),
                              resolver.ask());
  }
  resolver.answer.set_value(false);
  resolver.ended.wait();
  EXPECT_FALSE(said);
}

}  // namespace
}  // namespace megalaunch
