#include <algorithm>
#include <deque>
#include <random>
#include <set>

#include "tests/launcher/gang/coordinator_harness.h"

namespace megalaunch {
namespace {

/// One agent as the coordinator can know it: what it does with orders, and which of its messages
/// are still on their way. Each direction keeps its order; everything else may interleave.
struct ModelAgent {
  bool connected = false;
  bool ended = false;     ///< was sent an EndOrder and has not gone yet
  bool stubborn = false;  ///< does not stop its ranks
  bool preparing = false;
  int prepared = 0;     ///< how often, since it joined
  int generation = -1;  ///< of the last start
  bool alive = false;   ///< has processes of it
  std::deque<Order> inbox;
  std::deque<News> outbox;
};

/// A coordinator among model agents, driven by a random sequence of events. After every step it
/// checks GC-1 to GC-4 of coordinator.h.
class World {
 public:
  explicit World(unsigned seed)
      : random_(seed), nodes_(1 + pick(5)), gang_(settings()), agents_(nodes_) {}

  void run() {
    const unsigned events = 20 + pick(100);
    for (unsigned i = 0; i < events && !finished_ && !testing::Test::HasFailure(); ++i) {
      step();
      settle();
    }
    drain();
  }

 private:
  unsigned pick(unsigned below) { return static_cast<unsigned>(random_() % below); }
  bool chance(unsigned percent) { return pick(100) < percent; }

  Coordinator::Settings settings() {
    auto settings = Gang::settings_for(static_cast<int>(nodes_), chance(30));
    prepare_ = settings.prepare;
    if (chance(30)) min_nodes_ = 1 + static_cast<int>(pick(nodes_));
    settings.min_nodes = min_nodes_;
    settings.restarts.max = static_cast<int>(pick(6));
    settings.restarts.backoff = milliseconds(pick(2) * 5000);
    settings.first_generation = static_cast<int>(pick(3));
    return settings;
  }

  Evidence evidence(unsigned node, bool by_us) {
    RankEnd end = chance(80) ? RankEnd(Signaled{9}) : RankEnd(Exited{7});
    return gang_.evidence(static_cast<int>(node), end, by_us);
  }

  /// One event of the world.
  void step() {
    const unsigned node = pick(nodes_);
    ModelAgent& agent = agents_[node];
    switch (pick(12)) {
      case 0:
      case 1:
      case 2:
        return deliver_order(agent, node);
      case 3:
      case 4:
      case 5:
        return deliver_news(agent, node);
      case 6:
        return chance(60) ? join(agent, node) : void();
      case 7:
        return chance(25) ? lose(agent, node) : join(agent, node);
      case 8:
        return finish_work(agent, node, chance(40));
      case 9:
        if (agent.connected && chance(8)) {
          const int signal = chance(50) ? 15 : 2;
          agent.outbox.push_back(InterruptedNews{signal});
          stop(agent, node, {});
        }
        return;
      case 10:
        if (chance(5)) agent.stubborn = true;
        return;
      default:
        if (chance(40)) pass_time();
    }
  }

  void join(ModelAgent& agent, unsigned node) {
    if (agent.connected || agent.ended) return;
    MemberDetails details;
    details.host = Gang::host(static_cast<int>(node));
    details.node_rank = static_cast<int>(node);
    if (chance(50)) {
      details.run_id = "run";
      details.generation = agent.generation;
    }
    // An agent knocks once it has stopped its ranks; a replacement has none.
    const int generation = agent.generation;
    agent = ModelAgent{};
    agent.generation = generation;
    const auto welcome = gang_.coordinator.join(details, "10.0.0.1");
    if (!welcome) {
      ASSERT_TRUE(over_) << welcome.error().message;
      return;
    }
    agent.connected = true;
    gang_.coordinator.joined(static_cast<int>(node));
  }

  void lose(ModelAgent& agent, unsigned node) {
    if (!agent.connected) return;
    disconnect(agent);
    gang_.coordinator.left(static_cast<int>(node), "silent");
  }

  void disconnect(ModelAgent& agent) {
    agent.connected = false;
    agent.inbox.clear();
    agent.outbox.clear();
  }

  void deliver_news(ModelAgent& agent, unsigned node) {
    if (!agent.connected || agent.outbox.empty()) return;
    const News news = std::move(agent.outbox.front());
    agent.outbox.pop_front();
    gang_.coordinator.hear(static_cast<int>(node), news);
  }

  void deliver_order(ModelAgent& agent, unsigned node) {
    if (!agent.connected || agent.inbox.empty()) return;
    const Order order = std::move(agent.inbox.front());
    agent.inbox.pop_front();
    if (const auto* start = std::get_if<StartOrder>(&order)) {
      ASSERT_FALSE(agent.alive) << "GC-1: started over processes of an earlier generation";
      agent.generation = start->generation;
      if (chance(10)) return fail_ranks(agent, node);
      agent.alive = true;
      agent.outbox.push_back(StartedNews{agent.generation});
    } else if (const auto* halt = std::get_if<StopOrder>(&order)) {
      if (halt->generation != agent.generation)
        agent.outbox.push_back(StoppedNews{halt->generation, {}});
      else if (!agent.stubborn)
        stop(agent, node, {evidence(node, true)});
    } else if (std::holds_alternative<PrepareOrder>(order)) {
      ASSERT_FALSE(agent.preparing) << "its steps would run twice at the same time";
      agent.preparing = true;
    }
  }

  void stop(ModelAgent& agent, unsigned, std::vector<Evidence> evidence) {
    agent.alive = false;
    agent.outbox.push_back(StoppedNews{agent.generation, std::move(evidence)});
  }

  void fail_ranks(ModelAgent& agent, unsigned node) {
    const Evidence own = evidence(node, false);
    agent.outbox.push_back(FailedNews{agent.generation, own});
    stop(agent, node, {own});
  }

  /// What it is busy with comes to an end.
  void finish_work(ModelAgent& agent, unsigned node, bool badly) {
    if (!agent.connected) return;
    if (agent.preparing) {
      agent.preparing = false;
      if (badly)
        agent.outbox.push_back(FailedNews{agent.generation + 1, evidence(node, false)});
      else
        agent.outbox.push_back(PreparedNews{});
      agent.prepared += badly ? 0 : 1;
    } else if (agent.alive && badly) {
      fail_ranks(agent, node);
    } else if (agent.alive) {
      agent.alive = false;
      agent.outbox.push_back(SucceededNews{agent.generation});
    }
  }

  void pass_time() {
    const auto deadline = gang_.coordinator.deadline();
    if (!deadline) return gang_.clock.advance(milliseconds(pick(3000)));
    if (chance(70)) return gang_.pass();
    gang_.clock.advance(milliseconds(pick(1000)));
    gang_.coordinator.tick();
  }

  /// Carries out what the coordinator left behind, and checks it.
  void settle() {
    for (const auto& action : gang_.coordinator.take_actions())
      std::visit([this](const auto& each) { carry_out(each); }, action);
  }

  void carry_out(const Coordinator::OpenGeneration& open) {
    EXPECT_GT(open.generation, opened_) << "GC-2: a generation's number was used before";
    opened_ = open.generation;
    const auto present = std::count_if(agents_.begin(), agents_.end(),
                                       [](const ModelAgent& agent) { return agent.connected; });
    EXPECT_GE(present, min_nodes_ == 0 ? static_cast<int>(nodes_) : min_nodes_)
        << "GC-1: not every node is present";
    for (const ModelAgent& agent : agents_) {
      if (!agent.connected) continue;
      EXPECT_FALSE(agent.alive) << "GC-1: a node has processes of an earlier generation";
      EXPECT_FALSE(agent.preparing) << "a node is still preparing";
      EXPECT_TRUE(!prepare_ || agent.prepared > 0) << "a node has not run its steps";
      for (const Order& order : agent.inbox)
        EXPECT_FALSE(std::holds_alternative<StartOrder>(order)) << "GC-1: an old start is pending";
    }
    started_.clear();
    graceful_stops_.clear();
  }

  void carry_out(const Coordinator::Send& send) {
    ModelAgent& agent = agents_[static_cast<size_t>(send.node)];
    EXPECT_TRUE(agent.connected) << "an order to a node that is not here";
    EXPECT_FALSE(over_ && !std::holds_alternative<EndOrder>(send.order))
        << "an order after the end";
    if (const auto* start = std::get_if<StartOrder>(&send.order)) {
      EXPECT_EQ(start->generation, opened_) << "GC-2: started without a key space of its own";
      EXPECT_TRUE(started_.insert(send.node).second) << "GC-2: started twice in one generation";
    } else if (const auto* halt = std::get_if<StopOrder>(&send.order)) {
      EXPECT_EQ(halt->generation, opened_);
      if (halt->grace > milliseconds(0)) {
        EXPECT_TRUE(graceful_stops_.insert(send.node).second) << "GC-3: stopped twice";
      }
    } else if (const auto* end = std::get_if<EndOrder>(&send.order)) {
      EXPECT_EQ(end->exit_code, exit_code_.value_or(end->exit_code)) << "GC-4: two exit codes";
      exit_code_ = end->exit_code;
      over_ = true;
      agent.ended = true;
    }
    agent.inbox.push_back(send.order);
  }

  void carry_out(const Coordinator::Drop& drop) {
    disconnect(agents_[static_cast<size_t>(drop.node)]);
  }
  void carry_out(const Coordinator::Judged&) {
    for (const ModelAgent& agent : agents_)
      EXPECT_FALSE(agent.connected && agent.alive) << "judged while a member has processes";
  }
  void carry_out(const Coordinator::Record& record) {
    if (record.event == "end") over_ = true;
  }
  void carry_out(const Coordinator::Finish& finish) {
    EXPECT_FALSE(finished_) << "GC-4: finished twice";
    EXPECT_EQ(finish.exit_code, exit_code_.value_or(finish.exit_code)) << "GC-4";
    finished_ = true;
  }

  /// From here on nothing goes wrong any more and nobody comes back: it has to end by itself.
  void drain() {
    for (int round = 0; round < 2000 && !finished_; ++round) {
      if (testing::Test::HasFailure()) return;
      bool moved = false;
      for (unsigned node = 0; node < nodes_; ++node) {
        ModelAgent& agent = agents_[node];
        while (agent.connected && (!agent.inbox.empty() || !agent.outbox.empty())) {
          moved = true;
          deliver_news(agent, node);
          settle();
          deliver_order(agent, node);
          settle();
        }
        if (agent.connected && agent.ended) {
          disconnect(agent);
          gang_.coordinator.left(static_cast<int>(node), "dismissed");
          settle();
          moved = true;
        }
        if (agent.connected && (agent.preparing || (agent.alive && !agent.stubborn))) {
          finish_work(agent, node, false);
          moved = true;
        }
        // Its ranks hang for ever; somebody ends the job by hand.
        if (agent.connected && agent.alive && agent.stubborn &&
            gang_.coordinator.phase() == Coordinator::Phase::kRunning) {
          agent.outbox.push_back(InterruptedNews{2});
          moved = true;
        }
      }
      if (moved || finished_) continue;
      ASSERT_TRUE(gang_.coordinator.deadline())
          << "it waits for nothing, in phase " << static_cast<int>(gang_.coordinator.phase());
      gang_.pass();
      settle();
    }
    EXPECT_TRUE(finished_) << "it never ends";
  }

  std::mt19937 random_;
  unsigned nodes_;
  int min_nodes_ = 0;  ///< 0: the gang starts only with all
  bool prepare_ = false;
  Gang gang_;
  std::vector<ModelAgent> agents_;
  int opened_ = -1;
  std::set<int> started_;
  std::set<int> graceful_stops_;
  std::optional<int> exit_code_;
  bool over_ = false;
  bool finished_ = false;
};

TEST(CoordinatorAtRandom, KeepsItsInvariantsAndAlwaysEnds) {
  for (unsigned seed = 1; seed <= 3000; ++seed) {
    SCOPED_TRACE(seed);
    World(seed).run();
    if (testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace megalaunch
