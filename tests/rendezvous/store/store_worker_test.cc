#include "rendezvous/store/store_worker.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/rendezvous/store/running_store.h"

namespace megalaunch {
namespace {

/// One worker whose loop runs in the test's own thread, with clients at the other ends of pairs of
/// sockets.
class StoreWorkerTest : public testing::Test {
 protected:
  StoreWorkerTest() { workers_.push_back(std::make_unique<StoreWorker>(shared_, workers_, 0)); }

  StoreWorker& worker() { return *workers_.front(); }
  uint64_t operations() { return worker().counts().operations; }

  /// A connection that has said `bytes` already.
  Newcomer newcomer(const std::string& bytes, const std::string& address = "127.0.0.1") {
    std::array<int, 2> ends{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()), 0);
    clients_.emplace_back(ends[0]);
    EXPECT_EQ(::send(ends[0], bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
    ++shared_.connections;
    return {UniqueFd(ends[1]), *PeerAddress::parse(address), shared_.generation()};
  }

  /// Once; `done` is asked once a turn.
  void run_until(std::function<bool()> done) {
    const std::function<void()> ask = [&] {
      if (done()) return worker().loop().stop();
      worker().loop().later(ask);
    };
    worker().loop().post(ask);
    worker().loop().run();
  }

  /// What there is for the first client.
  void read_into(std::string& text) {
    char buffer[65536];
    const ssize_t got = ::recv(clients_.front().get(), buffer, sizeof(buffer), 0);
    if (got > 0) text.append(buffer, static_cast<size_t>(got));
  }

  StoreShared shared_{StoreLimits{}, std::nullopt, Log::to_nowhere()};
  std::vector<std::unique_ptr<StoreWorker>> workers_;
  std::vector<UniqueFd> clients_;
};

TEST_F(StoreWorkerTest, ManyNewConnectionsAreOpenedSomeAtATime) {
  constexpr uint64_t kMany = 400;
  std::vector<Newcomer> newcomers;
  for (uint64_t index = 0; index < kMany; ++index)
    newcomers.push_back(newcomer(kOpening + magic(Operation::kAdd, {"counter"}, 1)));
  worker().adopt(std::move(newcomers));
  uint64_t before = 0, most = 0;
  run_until([&] {
    most = std::max(most, operations() - before);
    before = operations();
    return before == 2 * kMany;
  });
  EXPECT_LE(most, 2 * kMany / 3) << "in one turn of the loop";
  EXPECT_EQ(shared_.generation().keys->get("counter").view(), std::to_string(kMany));
}

TEST_F(StoreWorkerTest, ManyPushesAreSentSomeAtATimeAndInOrder) {
  constexpr size_t kMany = 768;
  std::vector<Newcomer> watcher;
  watcher.push_back(newcomer(kOpening));
  const Ticket ticket{0, 0, 1, 0};  // of the first connection of thread 0
  std::string expected, pushed;
  size_t most = 0;
  worker().adopt(std::move(watcher));
  run_until([&] {
    if (operations() == 0) return false;
    for (size_t number = 0; expected.size() < 4 * kMany; ++number) {
      expected += std::to_string(1000 + number);
      worker().push(ticket, std::to_string(1000 + number));
    }
    const size_t before = pushed.size();
    read_into(pushed);
    most = std::max(most, pushed.size() - before);
    return pushed.size() == expected.size();
  });
  EXPECT_EQ(pushed, expected);
  EXPECT_LE(most, expected.size() / 2) << "in one turn of the loop";
}

TEST_F(StoreWorkerTest, WhoIsNotAdmittedAnyMoreWhenItsTurnComesIsClosed) {
  std::vector<Newcomer> newcomers;
  newcomers.push_back(newcomer(kOpening, "192.0.2.1"));
  newcomers.push_back(newcomer(kOpening));
  worker().adopt(std::move(newcomers));
  shared_.peers.admit_only({});
  run_until([&] { return operations() > 0; });
  EXPECT_EQ(operations(), 1u);
  EXPECT_EQ(shared_.connections, 1u);
}

}  // namespace
}  // namespace megalaunch
