#include "rendezvous/store/key_space.h"

#include <gtest/gtest.h>

#include <random>
#include <set>
#include <thread>

#include "rendezvous/store/request_encoder.h"

namespace megalaunch {
namespace {

/// Keeps what it is told.
class Notes final : public Wakeups {
 public:
  void wake(const Ticket& ticket) override { woken.push_back(ticket); }
  void push(const Ticket& ticket, std::string) override { pushed.push_back(ticket); }
  std::vector<Ticket> woken;
  std::vector<Ticket> pushed;
};

/// A FieldList over keys, with the bytes that it needs.
class Keys {
 public:
  Keys(std::initializer_list<std::string_view> keys) : count_(keys.size()) {
    for (const auto key : keys) append_counted(wire_, key);
  }
  operator FieldList() const { return {wire_, count_}; }

 private:
  std::string wire_;
  size_t count_;
};

class KeySpaceTest : public testing::Test {
 protected:
  StoreLimits limits;
  MemoryBudget budget{size_t{1} << 30};
  KeySpace keys{limits, budget};
  Notes notes;
};

TEST_F(KeySpaceTest, GivesBackAllMemoryItWasCharged) {
  {
    KeySpace space(limits, budget);
    Wait wait;
    ASSERT_TRUE(space.set("/a", "value", notes));
    ASSERT_TRUE(space.set("/a", "longer value", notes));
    ASSERT_TRUE(space.append("/a", "tail", notes));
    ASSERT_TRUE(space.queue_push("/q", "x", notes));
    ASSERT_TRUE(space.add("/n", 1, notes));
    ASSERT_TRUE(space.wait(Keys{"/x", "/y", "/x"}, wait, {}));
    ASSERT_TRUE(space.watch("/a", {}));
    EXPECT_GT(budget.used(), 0u);
    space.cancel(wait);
    space.unwatch("/a", {});
  }
  EXPECT_EQ(budget.used(), 0u);
}

TEST_F(KeySpaceTest, ErasedKeysAndEmptiedQueuesCostNothing) {
  ASSERT_TRUE(keys.set("/a", "value", notes));
  ASSERT_TRUE(keys.queue_push("/q", "x", notes));
  EXPECT_TRUE(keys.erase("/a", notes));
  EXPECT_EQ(keys.queue_pop("/q").value.view(), "x");
  EXPECT_EQ(budget.used(), 0u);
}

TEST_F(KeySpaceTest, AValueThatIsBeingSentDoesNotChangeUnderTheSender) {
  ASSERT_TRUE(keys.set("/a", "12", notes));
  const Blob held = keys.get("/a");
  ASSERT_TRUE(keys.append("/a", "34", notes));
  ASSERT_TRUE(keys.append("/a", "56", notes));
  EXPECT_EQ(held.view(), "12");
  EXPECT_EQ(keys.get("/a").view(), "123456");
}

TEST_F(KeySpaceTest, WaitersAreWokenInTheOrderOfTheirComing) {
  Wait waits[5];
  for (uint32_t index = 0; index < 5; ++index)
    ASSERT_EQ(keys.wait(Keys{"/k"}, waits[index], Ticket{0, index, 0, 0}), false);
  keys.cancel(waits[2]);
  ASSERT_TRUE(keys.set("/k", "v", notes));
  std::vector<uint32_t> order;
  for (const auto& ticket : notes.woken) order.push_back(ticket.slot);
  EXPECT_EQ(order, (std::vector<uint32_t>{0, 1, 3, 4}));
  for (auto& wait : waits) keys.finish(wait);
}

TEST_F(KeySpaceTest, AWaitThatRunsOutOfMemoryLeavesNothingBehind) {
  MemoryBudget small(1000);
  KeySpace space(limits, small);
  Wait wait;
  EXPECT_EQ(space.wait(Keys{"/1", "/2", "/3", "/4", "/5", "/6"}, wait, {}).error(),
            Refusal::kOutOfMemory);
  EXPECT_EQ(small.used(), 0u);
  ASSERT_TRUE(space.set("/1", "v", notes));
  EXPECT_TRUE(notes.woken.empty());
}

TEST_F(KeySpaceTest, ListsEveryKeyWithAValueOnce) {
  std::set<std::string> expected;
  for (int index = 0; index < 1000; ++index) {
    const auto key = "/key" + std::to_string(index);
    ASSERT_TRUE(keys.set(key, "", notes));
    expected.insert(key);
  }
  Wait wait;
  ASSERT_EQ(keys.wait(Keys{"/awaited"}, wait, {}), false);
  ASSERT_TRUE(keys.queue_push("/queue", "x", notes));
  std::string wire = "before";
  int64_t count = 0;
  for (int table = 0; table < KeySpace::kTables; ++table) count += keys.list_keys(table, wire);
  ASSERT_EQ(count, 1000);
  const FieldList list(std::string_view(wire).substr(6), 1000);
  EXPECT_EQ(std::set<std::string>(list.begin(), list.end()), expected);
  EXPECT_EQ(keys.size(), 1000);
  keys.cancel(wait);
}

TEST_F(KeySpaceTest, MultiSetIsSeenWholeOrNotAtAll) {
  const auto pairs = [&](const std::string& value) {
    std::string wire;
    for (int index = 0; index < 16; ++index) {
      append_counted(wire, "/" + std::to_string(index));
      append_counted(wire, value);
    }
    return wire;
  };
  std::string names;
  for (int index = 0; index < 16; ++index) append_counted(names, "/" + std::to_string(index));
  std::atomic<bool> done{false};
  std::thread writer([&] {
    Notes own;
    for (int round = 0; round < 3000; ++round) {
      const auto wire = pairs(std::to_string(round));
      ASSERT_TRUE(keys.multi_set(FieldList(wire, 32), own));
    }
    done = true;
  });
  int reads = 0;
  while (!done) {
    const auto values = keys.multi_get(FieldList(names, 16));
    for (const Blob& value : values) ASSERT_EQ(value.view(), values[0].view());
    ++reads;
  }
  writer.join();
  EXPECT_GT(reads, 0);
}

TEST_F(KeySpaceTest, ConcurrentAddsLoseNothing) {
  constexpr int kThreads = 4, kRounds = 5000;
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread)
    threads.emplace_back([&] {
      Notes own;
      for (int round = 0; round < kRounds; ++round) ASSERT_TRUE(keys.add("/n", 1, own));
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(keys.get("/n").view(), std::to_string(kThreads * kRounds));
}

/// Waits on several keys while others make, delete and cancel: each wait ends by exactly one
/// wake-up or by its cancel.
TEST_F(KeySpaceTest, ConcurrentWaitsEndExactlyOnce) {
  constexpr int kRounds = 3000;
  std::atomic<bool> done{false};
  std::mutex mutex;
  std::vector<Ticket> woken;
  class Shared final : public Wakeups {
   public:
    Shared(std::mutex& the_mutex, std::vector<Ticket>& the_woken)
        : mutex(the_mutex), woken(the_woken) {}
    void wake(const Ticket& ticket) override {
      const std::lock_guard lock(mutex);
      woken.push_back(ticket);
    }
    void push(const Ticket&, std::string) override {}
    std::mutex& mutex;
    std::vector<Ticket>& woken;
  } shared(mutex, woken);
  std::vector<std::thread> makers;
  for (int thread = 0; thread < 2; ++thread)
    makers.emplace_back([&, thread] {
      std::mt19937 random(static_cast<unsigned>(thread));
      while (!done) {
        const auto key = "/" + std::to_string(random() % 8);
        if (random() % 2 == 0)
          ASSERT_TRUE(keys.set(key, "v", shared));
        else
          keys.erase(key, shared);
      }
    });
  std::mt19937 random(7);
  uint32_t canceled = 0, awaited = 0;
  for (uint32_t round = 1; round <= kRounds; ++round) {
    Wait wait;
    const auto a = "/" + std::to_string(random() % 8), b = "/" + std::to_string(random() % 8);
    const auto there = keys.wait(Keys{a, b}, wait, Ticket{0, 0, 0, round});
    ASSERT_TRUE(there);
    if (*there) continue;
    if (random() % 2 == 0) {
      keys.cancel(wait);
      ++canceled;
      continue;
    }
    for (bool came = false; !came;) {
      std::this_thread::yield();
      const std::lock_guard lock(mutex);
      came = !woken.empty() && std::find_if(woken.begin(), woken.end(), [&](const Ticket& t) {
                                 return t.wait == round;
                               }) != woken.end();
    }
    keys.finish(wait);
    ++awaited;
  }
  done = true;
  for (auto& maker : makers) maker.join();
  std::set<uint32_t> distinct;
  for (const auto& ticket : woken) EXPECT_TRUE(distinct.insert(ticket.wait).second);
  EXPECT_GE(distinct.size(), awaited);
  EXPECT_GT(canceled + awaited, 0u);
}

}  // namespace
}  // namespace megalaunch
