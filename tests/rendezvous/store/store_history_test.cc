// Random concurrent histories against the running store: every key must behave like a simple model,
// in some order that the clients' clocks allow.
#include <gtest/gtest.h>

#include <array>
#include <barrier>
#include <charconv>
#include <random>
#include <thread>

#include "rendezvous/store/store_client.h"
#include "rendezvous/store/store_server.h"
#include "tests/rendezvous/store/linearizability.h"

namespace megalaunch {
namespace {

// The model: a state is "" for no key, else 'v' and the value; for a queue its values, each
// followed by ','.

int64_t now() {
  return std::chrono::steady_clock::now().time_since_epoch().count();
}

/// Expects a value that no key has: an atomic read.
constexpr std::string_view kNobody = "no such value";

/// One client of the store that notes what it did.
class Actor {
 public:
  Actor(const StoreServer& server, unsigned seed)
      : client_(*StoreClient::connect("127.0.0.1", server.port(), seconds(20))), random_(seed) {}

  void act(const std::string& key, std::vector<Observed>& history) {
    const int64_t invoked = now();
    Observed observed = key.starts_with("/queue") ? act_on_queue(key) : act_on_key(key);
    observed.invoked = invoked;
    observed.answered = now();
    history.push_back(std::move(observed));
  }

 private:
  std::string digit() { return std::to_string(random_() % 10); }
  /// What has no reply is done when the next reply comes.
  void fence() { ASSERT_TRUE(client_.key_count()); }

  Observed act_on_key(const std::string& key) {
    Observed seen;
    switch (random_() % 7) {
      case 0: {
        const auto value = digit();
        EXPECT_TRUE(client_.set(key, value));
        fence();
        seen.name = "set " + value;
        seen.apply = [value](std::string& state) { return state = "v" + value, true; };
        break;
      }
      case 1: {
        const auto value = digit();
        EXPECT_TRUE(client_.append(key, value));
        fence();
        seen.name = "append " + value;
        seen.apply = [value](std::string& state) {
          return state = (state.empty() ? "v" : state) + value, true;
        };
        break;
      }
      case 2: {
        const auto sum = client_.add(key, 1);
        EXPECT_TRUE(sum);
        seen.name = "add " + std::to_string(sum.value_or(-1));
        seen.apply = [sum = sum.value_or(-1)](std::string& state) {
          int64_t before = 0;
          if (!state.empty())
            std::from_chars(state.data() + 1, state.data() + state.size(), before);
          state = "v" + std::to_string(before + 1);
          return before + 1 == sum;
        };
        break;
      }
      case 3: {
        const auto expected = digit(), desired = digit();
        const auto answer = client_.compare_set(key, expected, desired).value_or("failed");
        seen.name = "compare_set " + expected + " " + desired + " -> " + answer;
        seen.apply = [expected, desired, answer](std::string& state) {
          if (state.empty()) return answer == expected;
          if (state == "v" + expected) state = "v" + desired;
          return answer == state.substr(1);
        };
        break;
      }
      case 4: {
        const bool erased = client_.erase(key).value();
        seen.name = erased ? "erase" : "erase nothing";
        seen.apply = [erased](std::string& state) {
          return std::exchange(state, "").empty() != erased;
        };
        break;
      }
      case 5: {
        const std::string_view name = key;
        const bool there = client_.check({&name, 1}).value();
        seen.name = there ? "check: there" : "check: missing";
        seen.apply = [there](std::string& state) { return state.empty() != there; };
        break;
      }
      default: {
        const auto answer = client_.compare_set(key, kNobody, "").value_or("failed");
        seen.name = "read " + answer;
        seen.apply = [answer](std::string& state) {
          return state.empty() ? answer == kNobody : state.substr(1) == answer;
        };
        break;
      }
    }
    return seen;
  }

  Observed act_on_queue(const std::string& key) {
    Observed seen;
    switch (random_() % 3) {
      case 0: {
        const auto value = digit();
        EXPECT_TRUE(client_.queue_push(key, value));
        fence();
        seen.name = "push " + value;
        seen.apply = [value](std::string& state) { return state += value + ",", true; };
        break;
      }
      case 1: {
        const auto popped = client_.queue_pop(key).value();
        seen.name = "pop " + popped.value_or("nothing");
        seen.apply = [popped](std::string& state) {
          if (!popped) return state.empty();
          if (!state.starts_with(*popped + ",")) return false;
          state.erase(0, popped->size() + 1);
          return true;
        };
        break;
      }
      default: {
        const auto length = client_.queue_length(key).value();
        seen.name = "length " + std::to_string(length);
        seen.apply = [length](std::string& state) {
          return std::count(state.begin(), state.end(), ',') == length;
        };
        break;
      }
    }
    return seen;
  }

  StoreClient client_;
  std::mt19937 random_;
};

TEST(LinearizabilityCheck, FindsTheOrderOfOverlappingOperations) {
  const auto write = [](std::string& state) { return state = "v1", true; };
  const auto read_new = [](std::string& state) { return state == "v1"; };
  const auto read_missing = [](std::string& state) { return state.empty(); };
  EXPECT_TRUE(LinearizabilityCheck(
                  {{0, 10, "write", write}, {2, 3, "read", read_missing}, {4, 5, "read", read_new}})
                  .passes());
  // The new value was seen, and then no longer.
  const std::vector<Observed> wrong{
      {0, 10, "write", write}, {2, 3, "read", read_new}, {4, 5, "read", read_missing}};
  EXPECT_FALSE(LinearizabilityCheck(wrong).passes());
  // The write was done before the read began.
  const std::vector<Observed> stale{{0, 1, "write", write}, {2, 3, "read", read_missing}};
  EXPECT_FALSE(LinearizabilityCheck(stale).passes());
}

TEST(StoreHistories, AreLinearizablePerKey) {
  StoreServer::Options options;
  options.bind_address = "127.0.0.1";
  options.threads = 3;
  const auto server = StoreServer::listen(std::move(options), Log::to_nowhere());
  ASSERT_TRUE(server) << server.error().message;

  constexpr int kActors = 4, kRounds = 2000, kOperations = 9;
  // history[round][key]: each round has keys of its own.
  std::vector<std::array<std::vector<Observed>, 3>> histories(kRounds);
  std::mutex mutex;
  std::barrier meet(kActors);
  std::vector<std::thread> threads;
  for (int number = 0; number < kActors; ++number)
    threads.emplace_back([&, number] {
      Actor actor(**server, static_cast<unsigned>(number + 1));
      std::mt19937 random(static_cast<unsigned>(number + 100));
      for (int round = 0; round < kRounds; ++round) {
        std::array<std::vector<Observed>, 3> own;
        meet.arrive_and_wait();  // so that the operations of a round overlap
        for (int operation = 0; operation < kOperations; ++operation) {
          const size_t which = random() % 3;
          actor.act((which == 2 ? "/queue" : "/key" + std::to_string(which)) + "/" +
                        std::to_string(round),
                    own[which]);
        }
        const std::lock_guard lock(mutex);
        for (size_t which = 0; which < 3; ++which)
          std::move(own[which].begin(), own[which].end(),
                    std::back_inserter(histories[static_cast<size_t>(round)][which]));
      }
    });
  for (auto& thread : threads) thread.join();

  size_t operations = 0;
  for (auto& round : histories) {
    for (auto& history : round) {
      operations += history.size();
      if (LinearizabilityCheck(history).passes()) continue;
      std::string story;
      for (const auto& seen : history)
        story += fmt::format("\n  [{} .. {}] {}", seen.invoked, seen.answered, seen.name);
      FAIL() << "no order explains" << story;
    }
  }
  EXPECT_EQ(operations, static_cast<size_t>(kActors * kRounds * kOperations));
}

}  // namespace
}  // namespace megalaunch
