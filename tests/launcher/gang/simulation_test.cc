#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "launcher/gang/leader.h"
#include "launcher/gang/message.h"
#include "rendezvous/gang/gang_client.h"
#include "tests/lib/processes.h"
#include "tests/lib/temp_dir.h"

namespace megalaunch {
namespace {

/// Where a test would hang. The times themselves are printed, not judged: a busy machine takes
/// longer.
constexpr seconds kLimit{50};

/// Counts what all agents together send and receive, heartbeats left out.
struct Traffic {
  int orders = 0;
  int news = 0;
};

/// A fake of the agent's rank side behind the real channel: its one rank starts and stops at once.
class FakeAgent {
 public:
  FakeAgent(boost::asio::io_context& context, uint16_t port, int node, Traffic& traffic)
      : node_(node), traffic_(traffic) {
    GangClient::Events events;
    events.on_message = [this](const nlohmann::json& message) { obey(*order_from_json(message)); };
    client_ = std::make_unique<GangClient>(
        context, GangClient::Options{"127.0.0.1", port, "1", "job", "", kLimit * 2, kLimit * 2},
        Log::to_nowhere(), std::move(events));
    MemberDetails details;
    details.host = "host" + std::to_string(node);
    details.node_rank = node;
    client_->connect(to_json(details));
  }

  void fail() {
    say(FailedNews{generation, evidence(false)});
    failed_ = true;
  }
  void succeed() { say(SucceededNews{generation}); }

  int generation = -1;
  std::optional<int> exit_code;

 private:
  void obey(const Order& order) {
    ++traffic_.orders;
    if (const auto* start = std::get_if<StartOrder>(&order)) {
      generation = start->generation;
      failed_ = false;
      EXPECT_EQ(start->first_rank, node_);
      say(StartedNews{generation});
    } else if (std::holds_alternative<StopOrder>(order)) {
      say(StoppedNews{generation, {evidence(!failed_)}});
    } else if (const auto* end = std::get_if<EndOrder>(&order)) {
      exit_code = end->exit_code;
      say(EndedNews{});
    }
  }
  Evidence evidence(bool stopped_by_us) const {
    Evidence made;
    made.node_rank = made.rank = node_;
    made.end = Signaled{stopped_by_us ? 15 : 9};
    made.stopped_by_us = stopped_by_us;
    made.ended_at = std::chrono::system_clock::now();
    made.stderr_tail = std::string(4096, 'x');
    return made;
  }
  void say(const News& news) {
    ++traffic_.news;
    client_->send(to_json(news));
  }

  int node_;
  Traffic& traffic_;
  bool failed_ = false;
  std::unique_ptr<GangClient> client_;
};

struct Round {
  milliseconds joined, restarted, ended;
  int messages_of_restart = 0;
};

/// Gathers `nodes` agents, lets one rank fail, waits for the next generation, ends the job.
Round play(int nodes) {
  TempDir dir;
  boost::asio::io_context context;
  const SystemClock clock;
  const CauseRules rules = CauseRules::built_in();
  std::optional<int> code;
  Leader::Options options;
  options.bind_address = "127.0.0.1";
  options.store_threads = 1;
  options.version = "1";
  options.job = options.run_name = "job";
  options.log_dir = dir.path();
  options.heartbeat_timeout = kLimit * 2;
  options.coordinator.nodes = nodes;
  options.coordinator.restarts.backoff = milliseconds(0);
  auto leader = Leader::start(context, clock, Log::to_nowhere(), rules, std::move(options),
                              [&](int exit_code) { code = exit_code; });
  if (!leader) throw std::runtime_error(leader.error().message);

  Traffic traffic;
  std::vector<std::unique_ptr<FakeAgent>> agents;
  Round round;
  const auto timed = [&](auto all_are_there) {
    const auto before = std::chrono::steady_clock::now();
    EXPECT_TRUE(run_until(context, all_are_there, kLimit * 2));
    return std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - before);
  };
  const auto all_in = [&](int generation) {
    return [&, generation] {
      return std::all_of(agents.begin(), agents.end(),
                         [=](const auto& each) { return each->generation == generation; });
    };
  };
  for (int node = 0; node < nodes; ++node)
    agents.push_back(std::make_unique<FakeAgent>(context, (*leader)->port(), node, traffic));
  round.joined = timed(all_in(0));
  traffic = {};
  agents[static_cast<size_t>(nodes / 2)]->fail();
  round.restarted = timed(all_in(1));
  round.messages_of_restart = traffic.orders + traffic.news;
  for (auto& agent : agents) agent->succeed();
  round.ended = timed([&] {
    return code && std::all_of(agents.begin(), agents.end(),
                               [](const auto& each) { return each->exit_code.has_value(); });
  });
  EXPECT_EQ(code, 0);
  return round;
}

TEST(Simulation, AThousandNodesJoinAndRestart) {
  const Round round = play(1000);
  std::printf(
      "1000 agents: joined and started in %ld ms, restarted in %ld ms, ended in %ld ms, "
      "%d messages for the restart\n",
      static_cast<long>(round.joined.count()), static_cast<long>(round.restarted.count()),
      static_cast<long>(round.ended.count()), round.messages_of_restart);
  EXPECT_LT(round.joined, kLimit);
  EXPECT_LT(round.restarted, kLimit);
  EXPECT_LT(round.ended, kLimit);
}

TEST(Simulation, TheMessagesOfARestartGrowWithTheNodesAndNoFaster) {
  // Each node: stop, stopped, tell, start, started. And one failure.
  for (const int nodes : {1, 10, 100}) EXPECT_EQ(play(nodes).messages_of_restart, 5 * nodes + 1);
}

}  // namespace
}  // namespace megalaunch
