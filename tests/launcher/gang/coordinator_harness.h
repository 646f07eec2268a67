#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "launcher/gang/coordinator.h"
#include "tests/lib/manual_clock.h"

namespace megalaunch {

/// A coordinator with its clock, and words for what a test does to it and finds in its actions.
class Gang {
 public:
  using Phase = Coordinator::Phase;

  explicit Gang(int nodes, bool prepare = false) : Gang(settings_for(nodes, prepare)) {}
  explicit Gang(Coordinator::Settings settings)
      : nodes_(settings.nodes), coordinator(std::move(settings), rules(), clock) {}

  static Coordinator::Settings settings_for(int nodes, bool prepare = false) {
    Coordinator::Settings settings;
    settings.job = "job";
    settings.nodes = nodes;
    settings.prepare = prepare;
    settings.identity.run_id = "run";
    settings.identity.log_dir = "/logs";
    settings.restarts.backoff = milliseconds(0);
    return settings;
  }
  static const CauseRules& rules() {
    static const CauseRules built_in = CauseRules::built_in();
    return built_in;
  }

  /// Asks to join; what it is told. Its welcome is on its way when this returns.
  Result<Welcome> knock(MemberDetails details, const std::string& address = "10.0.0.9") {
    if (details.host.empty()) details.host = "host";
    auto welcome = coordinator.join(details, address);
    if (welcome) coordinator.joined(welcome->node_rank);
    return welcome;
  }
  /// A node with a rank of its own; it has to be taken in.
  void join(int node, int ranks = 1) {
    MemberDetails details;
    details.host = host(node);
    details.node_rank = node;
    details.ranks = ranks;
    details.pid = 1000 + node;
    const auto welcome = knock(details, "10.0.0." + std::to_string(node));
    ASSERT_TRUE(welcome) << welcome.error().message;
  }
  void join_all() {
    for (int node = 0; node < nodes_; ++node) join(node);
  }
  void started(int node) { coordinator.hear(node, StartedNews{coordinator.generation()}); }
  void succeeded(int node) { coordinator.hear(node, SucceededNews{coordinator.generation()}); }
  /// All nodes are here and all ranks run.
  void run() {
    join_all();
    for (int node = 0; node < nodes_; ++node) started(node);
    EXPECT_EQ(coordinator.phase(), Phase::kRunning);
    take();
  }

  static std::string host(int node) { return "host" + std::to_string(node); }
  /// A rank's end: by default one that another attempt can cure.
  Evidence evidence(int node, RankEnd end = Signaled{9}, bool stopped_by_us = false) const {
    Evidence evidence;
    evidence.node_rank = evidence.rank = node;
    evidence.host = host(node);
    evidence.end = end;
    evidence.stopped_by_us = stopped_by_us;
    evidence.ended_at = clock.wall();
    return evidence;
  }
  void failed(int node, RankEnd end = Signaled{9}) {
    coordinator.hear(node, FailedNews{coordinator.generation(), evidence(node, end)});
  }
  /// It stopped what it had: `own` is how its rank had ended.
  void stopped(int node, std::optional<Evidence> own = std::nullopt) {
    coordinator.hear(node, StoppedNews{coordinator.generation(),
                                       {own ? *own : evidence(node, Signaled{15}, true)}});
  }
  void interrupted(int node, int signal) { coordinator.hear(node, InterruptedNews{signal}); }

  /// Time passes to the deadline, and it is kept.
  void pass() {
    const auto deadline = coordinator.deadline();
    ASSERT_TRUE(deadline);
    if (*deadline > clock.steady()) clock.advance(*deadline - clock.steady());
    coordinator.tick();
  }

  /// What is to be done since the last time.
  const std::vector<Coordinator::Action>& take() { return actions = coordinator.take_actions(); }
  /// Of the actions last taken: those of one kind.
  template <class T>
  std::vector<T> all() const {
    std::vector<T> found;
    for (const auto& action : actions)
      if (const auto* one = std::get_if<T>(&action)) found.push_back(*one);
    return found;
  }
  /// Of the actions last taken: orders of one kind, with the node that gets each.
  template <class T>
  std::vector<std::pair<int, T>> orders() const {
    std::vector<std::pair<int, T>> found;
    for (const auto& send : all<Coordinator::Send>())
      if (const auto* one = std::get_if<T>(&send.order)) found.emplace_back(send.node, *one);
    return found;
  }
  template <class T>
  std::vector<int> receivers() const {
    std::vector<int> found;
    for (const auto& [node, order] : orders<T>()) found.push_back(node);
    return found;
  }

  /// The actions last taken tell exactly these nodes to end with this exit code.
  void expect_end(const std::vector<int>& nodes, int exit_code) const {
    EXPECT_THAT(receivers<EndOrder>(), testing::ElementsAreArray(nodes));
    for (const auto& [node, end] : orders<EndOrder>())
      EXPECT_EQ(end.exit_code, exit_code) << "node " << node;
  }

 private:
  int nodes_;

 public:
  ManualClock clock;
  Coordinator coordinator;
  std::vector<Coordinator::Action> actions;
};

}  // namespace megalaunch
