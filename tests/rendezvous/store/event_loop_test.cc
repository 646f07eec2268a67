#include "rendezvous/store/event_loop.h"

#include <gtest/gtest.h>
#include <sys/eventfd.h>

#include <chrono>
#include <ctime>
#include <future>
#include <memory>
#include <string>
#include <thread>

#include "rendezvous/store/disposal.h"

namespace megalaunch {
namespace {

class Counter final : public EventLoop::Source {
 public:
  explicit Counter(EventLoop::Task task) : task_(std::move(task)) {}
  void on_ready(uint32_t) override {
    ++times;
    task_();
  }
  const UniqueFd fd{::eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC)};
  int times = 0;

 private:
  EventLoop::Task task_;
};

TEST(EventLoop, ASourceIsToldForAsLongAsItIsReadyAndNotAfterItWasForgotten) {
  EventLoop loop;
  std::unique_ptr<Counter> counter;
  counter = std::make_unique<Counter>([&] {
    if (counter->times == 3) {
      loop.forget(counter->fd.get(), *counter);
      loop.later([&] { loop.stop(); });
    }
  });
  ASSERT_TRUE(loop.watch(counter->fd.get(), EPOLLIN, *counter));
  loop.run();
  EXPECT_EQ(counter->times, 3);
}

TEST(EventLoop, ASourceMayBeDestroyedWhileItsEventIsOnItsWay) {
  EventLoop loop;
  // Both are ready in the same round; whoever comes first destroys the other.
  std::unique_ptr<Counter> one, other;
  const auto destroy = [&](std::unique_ptr<Counter>& victim) {
    if (!victim) return;
    loop.forget(victim->fd.get(), *victim);
    victim.reset();
    loop.stop();
  };
  one = std::make_unique<Counter>([&] { destroy(other); });
  other = std::make_unique<Counter>([&] { destroy(one); });
  ASSERT_TRUE(loop.watch(one->fd.get(), EPOLLIN, *one));
  ASSERT_TRUE(loop.watch(other->fd.get(), EPOLLIN, *other));
  loop.run();
  EXPECT_NE(one == nullptr, other == nullptr);
}

TEST(EventLoop, LaterTasksLetReadySourcesHaveTheirTurn) {
  EventLoop loop;
  Counter counter([] {});
  ASSERT_TRUE(loop.watch(counter.fd.get(), EPOLLIN, counter));
  int pieces = 0, turns_between = 0;
  EventLoop::Task piece = [&] {
    if (pieces++ > 0) turns_between += counter.times > 0;
    counter.times = 0;
    if (pieces == 10)
      loop.stop();
    else
      loop.later(piece);
  };
  loop.later(piece);
  loop.run();
  EXPECT_EQ(turns_between, 9);
}

TEST(EventLoop, TimersRunInTheOrderOfTheirTimes) {
  EventLoop loop;
  std::string order;
  const auto now = std::chrono::steady_clock::now();
  loop.call_at(now + milliseconds(3), [&] {
    order += "c";
    loop.stop();
  });
  loop.call_at(now + milliseconds(1), [&] { order += "b"; });
  loop.call_at(now - milliseconds(1), [&] { order += "a"; });
  loop.run();
  EXPECT_EQ(order, "abc");
}

TEST(EventLoop, TasksFromOtherThreadsAllRun) {
  EventLoop loop;
  int ran = 0;
  constexpr int kThreads = 4, kTasks = 1000;
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread)
    threads.emplace_back([&] {
      for (int task = 0; task < kTasks; ++task)
        loop.post([&] {
          if (++ran == kThreads * kTasks) loop.stop();
        });
    });
  loop.run();
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(ran, kThreads * kTasks);
}

TEST(EventLoop, FallsAsleepAgainWhenRequestsStopComing) {
  const auto cpu_time = [] {
    timespec time{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
  };
  EventLoop loop;
  std::thread thread([&] { loop.run(); });
  const auto cpu_time_there = [&] {
    std::promise<std::chrono::nanoseconds> answer;
    loop.post([&] { answer.set_value(cpu_time()); });
    return answer.get_future().get();
  };
  std::chrono::nanoseconds before{};
  for (int i = 0; i < 2000; ++i) before = cpu_time_there();  // each right behind the other
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_LT(cpu_time_there() - before, std::chrono::milliseconds(100));
  loop.stop();
  thread.join();
}

TEST(Disposal, DestroysEverythingOnAThreadOfItsOwnBeforeItEnds) {
  int destroyed = 0;
  std::thread::id where;
  {
    Disposal disposal;
    for (int index = 0; index < 100; ++index)
      disposal.add([&] {
        ++destroyed;
        where = std::this_thread::get_id();
      });
  }
  EXPECT_EQ(destroyed, 100);
  EXPECT_NE(where, std::this_thread::get_id());
}

}  // namespace
}  // namespace megalaunch
