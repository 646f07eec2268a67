#pragma once

#include <signal.h>

#include <functional>
#include <optional>
#include <vector>

#include "env/clock.h"
#include "env/log.h"
#include "env/result.h"
#include "launcher/causes/cause_rules.h"
#include "launcher/gang/agent.h"
#include "launcher/gang/leader.h"
#include "launcher/gang/preparer.h"
#include "launcher/gang/run_monitor.h"
#include "launcher/ranks/log_pump.h"

namespace megalaunch {

/// All that one node of a gang is made of.
struct NodeOptions {
  Agent::Options agent;  ///< marker and, on node 0, leader_host and leader_port are filled in
  std::optional<Leader::Options> leader;  ///< on node 0, and where only its place tells (below)
  CauseRules rules = CauseRules::built_in();
  std::optional<RunMonitor::Options> monitor;  ///< show and record the progress of training
  /// What to do before the first generation: on node 0 for the job (`first`), then on each node.
  /// Null: nothing.
  std::function<Result<Preparer::Work>(const Welcome&, bool first)> preparation;
  /// Where it takes more than this node's own options to tell whether it leads: then an agent that
  /// does not has this node rank, in place of the agent's.
  struct Undecided {
    /// It leads if this name or address is this machine's. A name that does not resolve yet is
    /// asked for again until the join time-out. Empty: no matter.
    std::string endpoint_host;
    /// Another process that has node 0's port may be node 0's agent: then this node joins it,
    /// instead of failing.
    bool join_if_port_taken = false;
    std::optional<int> node_rank;
  };
  std::optional<Undecided> undecided;
  std::vector<int> signals{SIGTERM, SIGINT, SIGHUP, SIGQUIT};  ///< that stop the job
  Log::Level log_level = Log::Level::kInfo;
  /// How long a slow console may hold up the end.
  milliseconds console_patience{5000};
};

/// From now on the signals that stop a job wait for run_node(): the kernel drops what PID 1 has no
/// handler for, and reading a job file and looking at its paths may take long.
void hold_back_stop_signals();

/// Runs one node until its job is over: makes the process what a launcher has to be (subreaper,
/// warden, signals), then the leader (on node 0) and the agent on one context, in this thread.
/// Returns the exit status of the job. An error means that nothing was started. Call it once, from
/// the main thread, before any other thread runs.
Result<int> run_node(NodeOptions options);

}  // namespace megalaunch
