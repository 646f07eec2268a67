#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "env/clock.h"
#include "env/result.h"
#include "launcher/causes/evidence.h"
#include "launcher/causes/training_progress.h"

namespace megalaunch {

/// What agents and the coordinator say to each other once an agent has joined, as plain values. On
/// the wire each is one JSON object whose `type` is the name in quotes;
/// rendezvous/gang/channel_format.md describes the frames around it.

/// Of one machine; more are not heard.
inline constexpr size_t kMaxAddresses = 256;

/// Who asks to join: the details of the handshake.
struct MemberDetails {
  std::string host;
  std::optional<int> node_rank;  ///< the platform's RANK; nothing: order of arrival
  int ranks = 1;                 ///< that this node starts
  int pid = 0;
  /// Numeric addresses of its machine: its ranks may come from another one than the agent did, as
  /// node 0's do, whose agent knocks on loopback.
  std::vector<std::string> addresses;
  std::string
      run_id;  ///< of the run that this agent took part in before it lost node 0; empty at first
  int generation = -1;  ///< the last one that it took part in
};

/// What node 0 has chosen for everyone.
struct Welcome {
  int node_rank = 0;
  int nodes = 1;
  std::string run_id;
  std::string start_time;  ///< of the run, ISO 8601, UTC
  std::string log_dir;     ///< absolute; the run's files are in <log_dir>/<run_id>
};

/// What every rank runs, when node 0 computes it for everyone.
struct RankCommand {
  std::vector<std::string> argv;           ///< argv[0] is looked up on each node
  std::map<std::string, std::string> env;  ///< beyond the inherited
  std::string cwd;                         ///< absolute
};

// --- orders, from the coordinator

/// "start": the ranks of a generation.
struct StartOrder {
  int generation = 0;
  int world_size = 1;
  int first_rank = 0;  ///< global rank of this node's local rank 0
  int max_restarts = 0;
  std::optional<RankCommand> command;  ///< nothing: the agent's own
  int group_rank = 0;                  ///< this node's place among those that take part
  int nodes = 1;                       ///< that take part
};
/// "stop": every rank of the generation; answered with StoppedNews.
struct StopOrder {
  int generation = 0;
  milliseconds grace{0};
  std::string reason;
};
/// "tell": show this on the console.
struct TellOrder {
  std::string text;
};
/// "prepare": run the job's preparation; answered with PreparedNews or FailedNews.
struct PrepareOrder {
  bool first = false;  ///< the steps for the whole job, not those for each node
};
/// "end": the job is over; leave with this status.
struct EndOrder {
  int exit_code = 0;
  std::string text;
};
/// "lines_shown": answers LinesNews; the agent may send the next ones.
struct LinesShownOrder {};
using Order =
    std::variant<StartOrder, StopOrder, TellOrder, PrepareOrder, EndOrder, LinesShownOrder>;

// --- news, from an agent

/// "started": all ranks of this node run.
struct StartedNews {
  int generation = 0;
};
/// "failed": the first rank of this node that failed; its agent has begun to stop the others.
struct FailedNews {
  int generation = 0;
  Evidence evidence;
};
/// "succeeded": all ranks of this node exited with 0.
struct SucceededNews {
  int generation = 0;
};
/// "stopped": no process of the generation is left on this node.
struct StoppedNews {
  int generation = 0;
  std::vector<Evidence> evidence;  ///< one for each rank
};
/// "prepared": see PrepareOrder.
struct PreparedNews {};
/// "ended": this agent has read its EndOrder; node 0 need not be there for it any more.
struct EndedNews {};
/// "interrupted": this agent was sent a signal that means to stop the job.
struct InterruptedNews {
  int signal = 15;
};
/// "notice": something happened here that the other consoles should show and the journal keep.
struct NoticeNews {
  std::string event;  ///< one word
  std::string text;   ///< one line
};
/// "progress": how far training has come, as ranks of this node printed. Now and then while it
/// grows: should the node be lost, its logs cannot tell any more.
struct ProgressNews {
  int generation = 0;
  TrainingProgress furthest;
};
/// "lines": what chosen ranks of this node printed, for node 0's console; answered with
/// LinesShownOrder, before which the agent sends no more. See LineRelay for what bounds it.
struct LinesNews {
  struct Line {
    int rank = 0;
    bool to_stderr = false;
    std::string text;       ///< without newline
    uint64_t left_out = 0;  ///< not 0: no line, but so many that are missing here
    bool operator==(const Line&) const = default;
  };
  std::vector<Line> lines;
};
using News = std::variant<StartedNews, FailedNews, SucceededNews, StoppedNews, PreparedNews,
                          EndedNews, InterruptedNews, NoticeNews, ProgressNews, LinesNews>;

nlohmann::json to_json(const MemberDetails& details);
nlohmann::json to_json(const Welcome& welcome);
nlohmann::json to_json(const Order& order);
nlohmann::json to_json(const News& news);

/// All refuse (kProtocol) missing and ill-typed fields and unknown types.
Result<MemberDetails> member_details_from_json(const nlohmann::json& json);
Result<Welcome> welcome_from_json(const nlohmann::json& json);
Result<Order> order_from_json(const nlohmann::json& json);
Result<News> news_from_json(const nlohmann::json& json);

}  // namespace megalaunch
