#include "launcher/gang/coordinator.h"

#include <algorithm>

#include "env/exit_code.h"
#include "launcher/causes/log_lines.h"
#include "launcher/ranks/patience.h"
#include "launcher/results/checkpoint_line.h"

namespace megalaunch {
namespace {

/// What fails on one node while they prepare often fails on all: how long the others have to say so
/// before it is judged.
constexpr seconds kPreparePatience{5};
/// How long members have to read the last order.
constexpr seconds kEndPatience{10};

/// How far training had come: what was `told`, or the ranks' last lines tell beyond it.
TrainingProgress progress_of(const std::vector<Evidence>& all, const TrainingProgress& told) {
  TrainingProgress progress = told;
  for (const Evidence& evidence : all) {
    for (std::string_view rest = evidence.stdout_tail; !rest.empty();) {
      const size_t newline = rest.find('\n');
      const std::string_view line = rest.substr(0, newline);
      std::optional<long> iteration;
      is_progress(line, &iteration);
      progress = furthest(progress, {iteration, parse_checkpoint_line(line)});
      rest = newline == std::string_view::npos ? std::string_view() : rest.substr(newline + 1);
    }
  }
  return progress;
}

std::string node_name(int rank, const std::string& host) {
  return host.empty() ? fmt::format("node {}", rank) : fmt::format("node {} ({})", rank, host);
}

}  // namespace

Coordinator::Coordinator(Settings settings, const CauseRules& rules, const Clock& clock)
    : settings_(std::move(settings)),
      rules_(rules),
      clock_(clock),
      generation_(settings_.first_generation),
      history_(settings_.history) {
  settings_.identity.nodes = settings_.nodes;
  for (int rank = 0; rank < settings_.nodes; ++rank) nodes_[rank];
  gather(clock_.steady());
}

// --- membership

Result<Welcome> Coordinator::join(const MemberDetails& details, const std::string& address) {
  if (phase_ == Phase::kFinished) return fail(Error::Kind::kRefused, "the job is over");
  const auto place = place_for(details);
  if (!place) return fail(place.error());
  Node& node = nodes_[*place];
  node.state = NodeState::kJoining;
  node.ever_seen = true;
  node.details = details;
  node.address = address;
  node.interrupted = false;
  node.prepared = false;  // another machine may have taken the place, with an empty disk
  // An agent that has lived through a loss of node 0 knows better than our journal how far the run
  // had come.
  if (details.run_id == settings_.identity.run_id && started_generation_ < 0)
    generation_ = std::max(generation_, details.generation + 1);
  Welcome welcome = settings_.identity;
  welcome.node_rank = *place;
  return welcome;
}

Result<int> Coordinator::place_for(const MemberDetails& details) const {
  if (details.node_rank) {
    const int rank = *details.node_rank;
    const auto found = nodes_.find(rank);
    if (found == nodes_.end())
      return fail(Error::Kind::kRefused,
                  "its node rank is {}, but the job has {} nodes (ranks 0 to {}); check RANK and "
                  "WORLD_SIZE",
                  rank, settings_.nodes, settings_.nodes - 1);
    const Node& node = found->second;
    if (node.state != NodeState::kAbsent)
      // The other one may be dead without our knowing yet, so trying again can help.
      return fail(
          Error::Kind::kUnavailable,
          "node rank {} is taken by the agent on {} ({}, pid {}); two nodes have the same RANK",
          rank, node.details.host, node.address, node.details.pid);
    return rank;
  }
  // Order of arrival, stable over restarts: a host gets its old place back; new ones the lowest
  // that nobody ever had.
  std::optional<int> fresh, vacant;
  for (const auto& [rank, node] : nodes_) {
    if (node.state != NodeState::kAbsent) continue;
    if (rank == settings_.host_rank) continue;
    if (node.ever_seen && node.details.host == details.host) return rank;
    if (!node.ever_seen && !fresh) fresh = rank;
    if (!vacant) vacant = rank;
  }
  if (fresh) return *fresh;
  if (vacant) return *vacant;
  return fail(Error::Kind::kUnavailable,
              "all {} nodes of the job are here already; check WORLD_SIZE", settings_.nodes);
}

void Coordinator::joined(int rank) {
  Node& node = nodes_[rank];
  node.state = NodeState::kReady;
  if (phase_ == Phase::kEnding) {  // GC-4 holds for it, too
    node.owes_answer = true;
    return send(rank, EndOrder{exit_code_, "the job had ended before this node joined"});
  }
  record("joined", fmt::format("{} at {}", node_name(rank, node.details.host), node.address));
  if (phase_ == Phase::kRunning && may_admit()) {
    admits_ = true;
    return begin_stop(fmt::format("{} joined: all ranks start again with it",
                                  node_name(rank, node.details.host)));
  }
  proceed();
}

void Coordinator::left(int rank, const std::string& why) {
  Node& node = nodes_[rank];
  if (node.state == NodeState::kAbsent) return;
  const NodeState before = node.state;
  node.state = NodeState::kAbsent;
  node.preparing = false;
  if (phase_ == Phase::kEnding) return;  // it may come back to hear of the end
  const std::string name = node_name(rank, node.details.host);
  record("lost", fmt::format("{}: {}", name, why));
  send_all(TellOrder{fmt::format("lost {}: {}", name, why)});
  const bool had_ranks = before == NodeState::kStarting || before == NodeState::kRunning;
  if (phase_ == Phase::kRunning && node.takes_part) {
    // Also one whose ranks had succeeded: its logs, and perhaps its part of a checkpoint, are in
    // doubt.
    add_lost_evidence(rank);
    begin_stop(fmt::format("{} was lost: {}", name, why));
  } else if (phase_ == Phase::kStopping) {
    if (had_ranks) add_lost_evidence(rank);
    check_stopped();
  } else if (phase_ == Phase::kPreparing) {
    if (deadline_) return proceed();
    gather(clock_.steady());
  } else if (phase_ == Phase::kGathering) {
    if (!deadline_) deadline_ = clock_.steady() + settings_.join_timeout;
    proceed();
  }
}

void Coordinator::add_lost_evidence(int rank) {
  Node& node = nodes_[rank];
  Evidence evidence;
  evidence.node_rank = rank;
  evidence.host = node.details.host;
  int first_rank = 0;
  for (const auto& [other, each] : nodes_)
    if (other < rank && each.takes_part) first_rank += each.details.ranks;
  evidence.rank = first_rank;
  evidence.pid = node.details.pid;
  evidence.end = LostNode{};
  evidence.ended_at = clock_.wall();
  node.evidence.push_back(std::move(evidence));
}

int Coordinator::present() const {
  return static_cast<int>(std::count_if(nodes_.begin(), nodes_.end(), [](const auto& each) {
    return each.second.state != NodeState::kAbsent;
  }));
}

bool Coordinator::somebody_owes_answer() const {
  return std::any_of(nodes_.begin(), nodes_.end(),
                     [](const auto& each) { return each.second.owes_answer; });
}

/// It may have processes of the current generation.
bool Coordinator::has_ranks(NodeState state) {
  return state == NodeState::kStarting || state == NodeState::kRunning ||
         state == NodeState::kSucceeded;
}

bool Coordinator::all_in(NodeState state) const {
  return std::all_of(nodes_.begin(), nodes_.end(), [state](const auto& each) {
    return !each.second.takes_part || each.second.state == state;
  });
}

/// All nodes are ready; or the least number is, and nobody is to be expected: the nodes of the last
/// generation are all back, or the last call has ended.
bool Coordinator::may_start() {
  int ready = 0;
  bool veterans_ready = started_generation_ >= 0;
  for (const auto& [rank, node] : nodes_) {
    if (node.state == NodeState::kReady)
      ++ready;
    else if (node.takes_part)
      veterans_ready = false;
  }
  if (ready == settings_.nodes) return true;
  if (settings_.min_nodes == 0 || ready < settings_.min_nodes) {
    last_call_ends_.reset();
    return false;
  }
  if (!last_call_ends_) last_call_ends_ = clock_.steady() + settings_.last_call;
  return veterans_ready || clock_.steady() >= *last_call_ends_;
}

/// A node that came late may take part at the cost of a restart.
bool Coordinator::may_admit() const {
  return settings_.min_nodes > 0 &&
         std::none_of(nodes_.begin(), nodes_.end(),
                      [](const auto& each) { return each.second.state == NodeState::kSucceeded; });
}

bool Coordinator::somebody_prepares() const {
  return std::any_of(nodes_.begin(), nodes_.end(),
                     [](const auto& each) { return each.second.preparing; });
}

std::string Coordinator::missing_nodes() const {
  std::string missing;
  for (const auto& [rank, node] : nodes_) {
    if (node.state != NodeState::kAbsent) continue;
    if (!missing.empty()) missing += ", ";
    missing += node.ever_seen ? node_name(rank, node.details.host) : fmt::format("node {}", rank);
  }
  return missing;
}

// --- the course of a generation

void Coordinator::gather(SteadyTime not_before) {
  phase_ = Phase::kGathering;
  not_before_ = not_before;
  deadline_ = not_before + settings_.join_timeout;
  proceed();
}

void Coordinator::proceed() {
  if (phase_ == Phase::kGathering) {
    if (interrupted_by_) return end(exit_code_of_signal(*interrupted_by_), "");
    if (!may_start() || clock_.steady() < *not_before_) return;
    deadline_.reset();
    // Steps of a round that was given up still run: the new round begins once their end is heard,
    // so that no step runs twice at a time and no news is taken for an answer to a later order.
    if (somebody_prepares()) {
      last_call_ends_.reset();
      return;
    }
    phase_ = Phase::kPreparing;
  }
  if (phase_ != Phase::kPreparing) return;
  if (deadline_) {
    if (!somebody_prepares()) judge();
  } else if (!prepare()) {
    start_generation();
  }
}

void Coordinator::start_generation() {
  phase_ = Phase::kRunning;
  deadline_.reset();
  last_call_ends_.reset();
  started_generation_ = generation_;
  progress_ = {};
  std::vector<std::string> addresses;
  int world_size = 0;
  int nodes_taking_part = 0;
  for (auto& [rank, node] : nodes_) {
    node.takes_part = node.state == NodeState::kReady;
    if (!node.takes_part) continue;
    addresses.push_back(node.address);
    addresses.insert(addresses.end(), node.details.addresses.begin(), node.details.addresses.end());
    world_size += node.details.ranks;
    ++nodes_taking_part;
  }
  actions_.push_back(OpenGeneration{generation_, std::move(addresses)});
  record("generation",
         fmt::format("generation {} starts: {} ranks on {} node{}", generation_, world_size,
                     nodes_taking_part, nodes_taking_part == 1 ? "" : "s"));
  StartOrder order{generation_, world_size, 0, settings_.restarts.max, std::nullopt};
  order.nodes = nodes_taking_part;
  for (auto& [rank, node] : nodes_) {
    if (!node.takes_part) continue;
    node.state = NodeState::kStarting;
    node.evidence.clear();
    send(rank, order);
    order.first_rank += node.details.ranks;
    ++order.group_rank;
  }
}

void Coordinator::begin_stop(const std::string& reason) {
  phase_ = Phase::kStopping;
  deadline_ = clock_.steady() + settings_.grace + kStopPatience;
  record("stopping", reason);
  send_all(StopOrder{generation_, settings_.grace, reason});
  check_stopped();
}

void Coordinator::check_stopped() {
  if (std::none_of(nodes_.begin(), nodes_.end(),
                   [](const auto& each) { return has_ranks(each.second.state); }))
    judge();
}

void Coordinator::judge() {
  const int failed_generation = generation_++;
  for (auto& [rank, node] : nodes_)
    if (node.state == NodeState::kStopped) node.state = NodeState::kReady;

  if (std::exchange(admits_, false) && !interrupted_by_) {
    // What failed since was on its way down.
    for (auto& [rank, node] : nodes_) node.evidence.clear();
    record("restart", "with the nodes that are here now");
    return gather(clock_.steady());
  }

  Judged judged;
  judged.generation = failed_generation;
  for (auto& [rank, node] : nodes_) {
    std::move(node.evidence.begin(), node.evidence.end(), std::back_inserter(judged.evidence));
    node.evidence.clear();
  }
  judged.verdict = decide(judged.evidence, rules_);
  // Whoever stops the job decides how it ends; a failure before that is still reported.
  if (interrupted_by_ && !judged.verdict.first)
    return end(exit_code_of_signal(*interrupted_by_), "");
  const RankEnd first_end =
      judged.verdict.first ? judged.evidence[*judged.verdict.first].end : RankEnd(NotRecorded{});
  judged.decision = decide_restart(settings_.restarts, history_, judged.verdict, first_end,
                                   progress_of(judged.evidence, progress_));
  if (interrupted_by_)
    judged.decision = {End{exit_code_of_signal(*interrupted_by_)},
                       fmt::format("the job was stopped by {}", signal_name(*interrupted_by_)),
                       history_};
  history_ = judged.decision.history;
  const bool over = std::holds_alternative<End>(judged.decision.action);
  std::string report;
  if (over && settings_.last_words)
    report = settings_.last_words(facts_of(judged), judged.evidence, judged.verdict);
  report += report_text(facts_of(judged), judged.evidence, judged.verdict, judged.decision);
  const auto action = judged.decision.action;
  const std::string reason = judged.decision.reason;
  actions_.push_back(std::move(judged));
  send_all(TellOrder{report});
  if (const auto* retry = std::get_if<Retry>(&action)) {
    record("restart", reason);
    return gather(clock_.steady() + retry->after);
  }
  end(std::get<End>(action).exit_code, "");
}

ReportFacts Coordinator::facts_of(const Judged& judged) const {
  ReportFacts facts;
  facts.job = settings_.job;
  facts.run_id = settings_.identity.run_id;
  facts.generation = judged.generation;
  for (const auto& [rank, node] : nodes_) {
    if (!node.takes_part && started_generation_ >= 0) continue;
    ++facts.nodes;
    facts.ranks += node.details.ranks;
  }
  facts.ended = clock_.wall();
  facts.log_dir = fmt::format("{}/attempt_{}", settings_.run_dir, judged.generation);
  return facts;
}

void Coordinator::end(int exit_code, const std::string& text) {
  if (phase_ == Phase::kEnding || phase_ == Phase::kFinished) return;
  phase_ = Phase::kEnding;
  exit_code_ = exit_code;
  deadline_ = clock_.steady() + kEndPatience;
  record("end", fmt::format("exit code {}{}{}", exit_code, text.empty() ? "" : ": ", text));
  for (auto& [rank, node] : nodes_) node.owes_answer = node.state != NodeState::kAbsent;
  send_all(EndOrder{exit_code, text});
  if (!somebody_owes_answer()) tick();
}

void Coordinator::tick() {
  const SteadyTime now = clock_.steady();
  switch (phase_) {
    case Phase::kGathering:
      if (now >= *not_before_) proceed();
      if (phase_ == Phase::kGathering && deadline_ && now >= *deadline_ && !last_call_ends_)
        end(kExitNodesMissing,
            fmt::format("{} of {} nodes are here; missing after {} s: {}", present(),
                        settings_.nodes,
                        std::chrono::duration_cast<seconds>(settings_.join_timeout).count(),
                        missing_nodes()));
      return;
    case Phase::kPreparing:
      if (deadline_ && now >= *deadline_) judge();
      return;
    case Phase::kStopping:
      if (now < *deadline_) return;
      for (auto& [rank, node] : nodes_)
        if (has_ranks(node.state)) {
          actions_.push_back(Drop{rank, "it does not stop its ranks", kExitNodesMissing});
          node.state = NodeState::kAbsent;
          add_lost_evidence(rank);
        }
      return check_stopped();
    case Phase::kEnding:
      if (somebody_owes_answer() && now < *deadline_) return;
      phase_ = Phase::kFinished;
      deadline_.reset();
      actions_.push_back(Finish{exit_code_});
      return;
    default:
      return;
  }
}

std::optional<SteadyTime> Coordinator::deadline() const {
  if (phase_ == Phase::kGathering && not_before_ && clock_.steady() < *not_before_)
    return not_before_;
  if (phase_ == Phase::kGathering && last_call_ends_) return last_call_ends_;
  return deadline_;
}

// --- news

void Coordinator::hear(int node, const News& news) {
  std::visit([this, node](const auto& each) { hear_of(node, each); }, news);
}

void Coordinator::hear_of(int rank, const StartedNews& news) {
  Node& node = nodes_[rank];
  if (news.generation != generation_ || node.state != NodeState::kStarting) return;
  node.state = NodeState::kRunning;
  if (phase_ == Phase::kRunning && all_in(NodeState::kRunning)) record("running", "all ranks run");
}

void Coordinator::hear_of(int rank, const FailedNews& news) {
  Node& node = nodes_[rank];
  const Evidence& evidence = news.evidence;
  if (std::exchange(node.preparing, false)) {
    if (phase_ == Phase::kPreparing) {
      // There is nothing to stop.
      node.evidence = {evidence};
      if (!deadline_) deadline_ = clock_.steady() + kPreparePatience;
    } else if (phase_ == Phase::kGathering) {
      // Of a round that is over: the node tries again in the next one.
      record("unprepared", node_name(rank, node.details.host));
      send_all(TellOrder{evidence.stderr_tail});
    }
    return proceed();
  }
  if (news.generation != generation_ || !has_ranks(node.state)) return;
  // StoppedNews will bring it again with the others', unless the node is lost before.
  if (phase_ == Phase::kRunning || phase_ == Phase::kStopping) node.evidence.push_back(evidence);
  if (phase_ == Phase::kRunning)
    begin_stop(fmt::format("rank {} on {} failed: {}", evidence.rank,
                           node_name(rank, node.details.host), describe(evidence.end)));
}

void Coordinator::hear_of(int rank, const EndedNews&) {
  nodes_[rank].owes_answer = false;
  if (phase_ == Phase::kEnding && !somebody_owes_answer()) tick();
}

void Coordinator::hear_of(int rank, const SucceededNews& news) {
  Node& node = nodes_[rank];
  if (news.generation != generation_ ||
      (node.state != NodeState::kRunning && node.state != NodeState::kStarting))
    return;
  node.state = NodeState::kSucceeded;
  if (phase_ == Phase::kRunning && all_in(NodeState::kSucceeded)) end(0, "");
}

void Coordinator::hear_of(int rank, const StoppedNews& news) {
  Node& node = nodes_[rank];
  // Only the first: an agent that stopped by itself answers our order once more, with less.
  if (news.generation != generation_ || phase_ != Phase::kStopping || !has_ranks(node.state))
    return;
  node.state = NodeState::kStopped;
  node.evidence = news.evidence;
  check_stopped();
}

void Coordinator::hear_of(int rank, const PreparedNews&) {
  Node& node = nodes_[rank];
  if (!std::exchange(node.preparing, false)) return;
  // There are no orders for a node's own steps before those for the whole job are done.
  if (job_prepared_)
    node.prepared = true;
  else
    job_prepared_ = true;
  proceed();
}

void Coordinator::hear_of(int rank, const InterruptedNews& news) {
  const std::string reason = fmt::format(
      "{} was sent {}", node_name(rank, nodes_[rank].details.host), signal_name(news.signal));
  // A platform that ends a job signals every node once: only a second signal to the same node is
  // somebody's impatience.
  const bool again = std::exchange(nodes_[rank].interrupted, true);
  interrupted_by_ = news.signal;
  switch (phase_) {
    case Phase::kRunning:
      return begin_stop(reason);
    case Phase::kStopping:
      // A second signal means now.
      if (!again) return;
      deadline_ = std::min(*deadline_, clock_.steady() + kStopPatience);
      return send_all(StopOrder{generation_, milliseconds(0), reason});
    case Phase::kPreparing:
      if (deadline_) return judge();  // what failed before is still reported
      [[fallthrough]];
    case Phase::kGathering:
      return end(exit_code_of_signal(news.signal), reason);
    default:
      return;
  }
}

void Coordinator::hear_of(int rank, const ProgressNews& news) {
  if (news.generation == generation_ && has_ranks(nodes_[rank].state))
    progress_ = furthest(progress_, news.furthest);
}

void Coordinator::hear_of(int rank, const NoticeNews& news) {
  record(news.event, news.text);
  for (const auto& [other, node] : nodes_)
    if (other != rank) send(other, TellOrder{news.text});  // its own console has it already
}

// --- actions

void Coordinator::send(int node, Order order) {
  if (nodes_[node].state != NodeState::kAbsent && nodes_[node].state != NodeState::kJoining)
    actions_.push_back(Send{node, std::move(order)});
}

/// Has those steps run that are still to be done: the job's own, then those of every node that has
/// not run them since it joined. False once there are none.
bool Coordinator::prepare() {
  if (!settings_.prepare) return false;
  if (!job_prepared_) {
    const auto someone = std::find_if(nodes_.begin(), nodes_.end(), [](const auto& each) {
      return each.second.state == NodeState::kReady;
    });
    if (someone != nodes_.end() && !somebody_prepares()) prepare(someone->first, /*first=*/true);
    return true;
  }
  for (const auto& [rank, node] : nodes_)
    if (node.state == NodeState::kReady && !node.prepared && !node.preparing)
      prepare(rank, /*first=*/false);
  return somebody_prepares();
}

void Coordinator::prepare(int node, bool first) {
  nodes_[node].preparing = true;
  send(node, PrepareOrder{first});
}

void Coordinator::send_all(const Order& order) {
  for (const auto& [rank, node] : nodes_) send(rank, order);
}

std::vector<Coordinator::Action> Coordinator::take_actions() {
  return std::exchange(actions_, {});
}

}  // namespace megalaunch
