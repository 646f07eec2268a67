#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "env/clock.h"
#include "env/result.h"
#include "launcher/causes/failure_report.h"
#include "launcher/causes/restart_policy.h"
#include "launcher/causes/verdict.h"
#include "launcher/gang/message.h"

namespace megalaunch {

/// Decides for the whole gang: who is a member, when a generation starts and stops, what a failure
/// means, and when the job is over. Lives on node 0. Pure: it is told what happened and leaves
/// behind what is to be done; it holds no socket, timer or process, and reads time only from its
/// clock.
///
///   gather -> [prepare ->] run -> stop -> (judge) -> gather ... -> end
///
/// GC-1  A generation starts only when every node is present and none has a process of an earlier
/// one. GC-2  Every rank of a generation has the same generation number, an empty key space, and no
/// peer of another one. GC-3  The first failure, loss or interruption stops the generation; later
/// ones only add evidence. GC-4  The job ends with one exit code for everyone.
class Coordinator {
 public:
  struct Settings {
    std::string job;
    int nodes = 1;
    /// Start with so many when no more come before the last call ends. When one comes later all
    /// ranks start again with it, unless some node is done already; that is no failure and counts
    /// against no limit. 0: only with all.
    int min_nodes = 0;
    milliseconds last_call{30'000};
    /// The place of the agent beside this coordinator, which asks for it by number. Kept for it:
    /// nodes that take the places as they come may be here first.
    std::optional<int> host_rank;
    milliseconds join_timeout{600'000};
    milliseconds grace{30'000};  ///< from SIGTERM to SIGKILL on every node
    RestartLimits restarts;
    std::string run_dir;  ///< where the journal and the reports are
    /// Said before our own report when a failure ends the job; may be null. Pure.
    std::function<std::string(const ReportFacts&, const std::vector<Evidence>&, const Verdict&)>
        last_words;
    bool prepare = false;    ///< the job has steps to run before the first generation
    Welcome identity;        ///< run id and so on; node_rank and nodes are filled in
    RestartHistory history;  ///< of the run that is continued; empty for a new one
    int first_generation = 0;
  };

  // --- what is to be done
  struct Send {
    int node = 0;
    Order order;
  };
  /// Close the node's connection: it does not do what it must. Its agent leaves with this status.
  struct Drop {
    int node = 0;
    std::string why;
    int exit_code = 0;
  };
  /// Before the Sends that follow: a new key space, for ranks on these addresses (and loopback)
  /// only: those that the members' agents came from, and all others of their machines.
  struct OpenGeneration {
    int generation = 0;
    std::vector<std::string> addresses;
  };
  /// A generation ended badly: write it down. All evidence, what it means, and what was decided.
  struct Judged {
    int generation = 0;
    std::vector<Evidence> evidence;
    Verdict verdict;
    RestartDecision decision;
  };
  /// Something that the journal should know changed.
  struct Record {
    std::string event;
    std::string detail;
  };
  /// Nothing is left to do; node 0's agent may leave with this status.
  struct Finish {
    int exit_code = 0;
  };
  using Action = std::variant<Send, Drop, OpenGeneration, Judged, Record, Finish>;

  enum class Phase { kGathering, kPreparing, kRunning, kStopping, kEnding, kFinished };

  /// `rules` and `clock` outlive the coordinator.
  Coordinator(Settings settings, const CauseRules& rules, const Clock& clock);

  /// An agent at `address` asks to join. Its welcome, or why not (kUnavailable: later perhaps).
  Result<Welcome> join(const MemberDetails& details, const std::string& address);
  /// Its welcome is on its way. Nothing may start before this.
  void joined(int node);
  void left(int node, const std::string& why);
  void hear(int node, const News& news);
  /// Node 0 cannot do its part: the job ends now, on every node.
  void give_up(const std::string& why, int exit_code = 1) { end(exit_code, why); }
  /// Call when deadline() has passed.
  void tick();

  /// When tick() is due; nothing while only news can move things.
  std::optional<SteadyTime> deadline() const;
  /// What has to be done since the last call, in order.
  std::vector<Action> take_actions();

  Phase phase() const { return phase_; }
  int generation() const { return generation_; }
  /// What the report of a failed generation says beside the failure itself.
  ReportFacts facts_of(const Judged& judged) const;
  const RestartHistory& history() const { return history_; }
  const Welcome& identity() const { return settings_.identity; }

 private:
  enum class NodeState { kAbsent, kJoining, kReady, kStarting, kRunning, kSucceeded, kStopped };
  struct Node {
    NodeState state = NodeState::kAbsent;
    bool ever_seen = false;
    bool takes_part = false;   ///< in the present generation, or the last one
    bool preparing = false;    ///< was sent a PrepareOrder and has not answered
    bool prepared = false;     ///< has run its own steps since it joined
    bool interrupted = false;  ///< was sent a signal that means to stop
    bool owes_answer = false;  ///< was sent its EndOrder, and may not have it yet
    MemberDetails details;
    std::string address;
    std::vector<Evidence> evidence;  ///< of the current generation
  };

  Result<int> place_for(const MemberDetails& details) const;
  std::string missing_nodes() const;
  int present() const;
  bool somebody_owes_answer() const;
  bool all_in(NodeState state) const;
  static bool has_ranks(NodeState state);
  bool may_start();
  bool may_admit() const;
  bool somebody_prepares() const;
  void gather(SteadyTime not_before);
  void proceed();
  void start_generation();
  void begin_stop(const std::string& reason);
  void check_stopped();
  void judge();
  void end(int exit_code, const std::string& text);
  void add_lost_evidence(int node);

  void hear_of(int node, const StartedNews& news);
  void hear_of(int node, const FailedNews& news);
  void hear_of(int node, const SucceededNews& news);
  void hear_of(int node, const EndedNews& news);
  void hear_of(int node, const StoppedNews& news);
  void hear_of(int node, const PreparedNews& news);
  void hear_of(int node, const InterruptedNews& news);
  void hear_of(int node, const NoticeNews& news);
  void hear_of(int node, const ProgressNews& news);
  void hear_of(int, const LinesNews&) {}  // only to be shown; decides nothing

  void send(int node, Order order);
  void send_all(const Order& order);
  bool prepare();
  void prepare(int node, bool first);
  void record(std::string event, std::string detail) {
    actions_.push_back(Record{std::move(event), std::move(detail)});
  }

  Settings settings_;
  const CauseRules& rules_;
  const Clock& clock_;
  Phase phase_ = Phase::kGathering;
  int generation_;
  int started_generation_ = -1;
  bool job_prepared_ = false;  ///< the steps for the whole job are done
  bool admits_ = false;        ///< the generation is being stopped for a node that came late
  std::map<int, Node> nodes_;  ///< all ranks 0..nodes-1
  RestartHistory history_;
  TrainingProgress progress_;  ///< of the generation, as its nodes told while it ran
  std::optional<int> interrupted_by_;
  int exit_code_ = 0;
  std::optional<SteadyTime> deadline_;        ///< of the phase; while preparing: a step failed
  std::optional<SteadyTime> last_call_ends_;  ///< while fewer than all nodes would do
  std::optional<SteadyTime> not_before_;      ///< backoff: when the next generation may start
  std::vector<Action> actions_;
};

}  // namespace megalaunch
