#include "launcher/gang/agent.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <nlohmann/json.hpp>

#include "env/cgroup.h"
#include "env/exit_code.h"
#include "env/host.h"
#include "env/rank_environment.h"
#include "launcher/gang/line_sender.h"
#include "launcher/gang/message.h"
#include "launcher/gang/node_logs.h"
#include "launcher/gang/pause_notices.h"
#include "launcher/gang/rank_files.h"
#include "launcher/gang/run_monitor.h"
#include "launcher/ranks/log_pump.h"
#include "launcher/ranks/program.h"
#include "launcher/ranks/rank_group.h"
#include "launcher/results/gpu_monitor.h"
#include "rendezvous/gang/frame.h"
#include "rendezvous/gang/gang_client.h"

namespace megalaunch {
namespace {

namespace asio = boost::asio;

/// All log excerpts that one generation's end may bring to node 0, shared by all ranks.
constexpr size_t kAllTails = 64U << 20;
constexpr size_t kSmallestTail = 4096;
/// What they may be together in one message of one node, before JSON's escapes make them longer.
constexpr size_t kNodeTails = kMaxFrame / 4;

}  // namespace

struct Agent::State : std::enable_shared_from_this<State> {
  State(asio::io_context& io, Reaper& reaper_ref, const Clock& clock_ref, Log log_value,
        LogPump& pump_ref, Options options_value, std::function<void(int)> on_finished)
      : context(io),
        reaper(reaper_ref),
        clock(clock_ref),
        log(std::move(log_value)),
        pump(pump_ref),
        options(std::move(options_value)),
        finished(std::move(on_finished)),
        interrupt_timer(io),
        gpu_timer(io),
        progress_timer(io),
        lines_to_node_0(io, [this](LinesNews lines) { send(std::move(lines)); }),
        logs(pump, options.log_cap, log) {}

  // --- the channel

  void start() {
    GangClient::Events events;
    events.on_welcome = [this](const nlohmann::json& message) { be_welcomed(message); };
    events.on_message = [this](const nlohmann::json& message) { obey(message); };
    events.on_refused = [this](const std::string& reason) {
      log.error("node 0 at {}:{} refuses this node: {}", options.leader_host, options.leader_port,
                reason);
      leave(kExitUsage);
    };
    events.on_unreachable = [this](const std::string& why) {
      log.error("node 0 at {}:{} could not be joined within {} s: {}", options.leader_host,
                options.leader_port,
                std::chrono::duration_cast<seconds>(options.join_timeout).count(), why);
      leave(kExitNodesMissing);
    };
    events.on_lost = [this](const std::string& why) { lose_leader(why); };
    client = std::make_unique<GangClient>(
        context,
        GangClient::Options{options.leader_host, options.leader_port, options.version, options.job,
                            options.key, options.join_timeout, options.heartbeat_timeout},
        log, std::move(events));
    knock();
  }

  void knock() {
    MemberDetails details;
    details.host = host_name();
    details.node_rank = welcome ? std::optional<int>(welcome->node_rank) : options.node_rank;
    details.ranks = options.ranks;
    details.pid = ::getpid();
    details.addresses = interface_addresses();
    if (details.addresses.size() > kMaxAddresses) details.addresses.resize(kMaxAddresses);
    details.run_id = welcome ? welcome->run_id : "";
    details.generation = generation;
    client->connect(to_json(details));
  }

  void be_welcomed(const nlohmann::json& message) {
    auto parsed = welcome_from_json(message);
    if (!parsed) {
      log.error("{}", parsed.error().message);
      return leave(kExitFailure);
    }
    welcome = std::move(*parsed);
    connected = true;
    lines_to_node_0.set_connected(true);
    run_dir = std::filesystem::path(welcome->log_dir) / welcome->run_id;
    log.info("joined run {} as node {} of {}; logs in {}", welcome->run_id, welcome->node_rank,
             welcome->nodes, run_dir.string());
    if (options.monitor) options.monitor->begin_run(run_dir, welcome->node_rank);
  }

  void lose_leader(const std::string& why) {
    if (leaving || ending) return;
    connected = false;
    lines_to_node_0.set_connected(false);
    answer_preparation = false;
    wanted_preparation.reset();
    log.error("lost node 0 at {}:{}: {}", options.leader_host, options.leader_port, why);
    if (interrupted)
      return stop_group(options.grace, [this] { leave(exit_code_of_signal(*interrupted)); });
    log.info("stopping this node's ranks, then waiting up to {} s for node 0 to come back",
             std::chrono::duration_cast<seconds>(options.join_timeout).count());
    stop_group(options.grace, [this] { when_gpus_are_free([this] { knock(); }); });
  }

  void send(const News& news) { client->send(to_json(news)); }

  // --- orders

  void obey(const nlohmann::json& message) {
    const auto order = order_from_json(message);
    if (!order) return log.warn("{}", order.error().message);
    std::visit([this](const auto& each) { carry_out(each); }, *order);
  }

  void carry_out(const TellOrder& tell) {
    if (tell.text.find('\n') == std::string::npos) return log.warn("{}", tell.text);
    for (std::string_view rest = tell.text; !rest.empty();) {
      const size_t newline = rest.find('\n');
      pump.message(rest.substr(0, newline));
      rest = newline == std::string_view::npos ? std::string_view() : rest.substr(newline + 1);
    }
  }

  void carry_out(const PrepareOrder& order) {
    if (!options.prepare) return send(PreparedNews{});
    wanted_preparation = order.first;
    // The steps of an order from before a loss of node 0 may still run; never two at a time.
    if (!preparing) prepare();
  }

  void prepare() {
    preparing = true;
    answer_preparation = true;
    const bool first = *std::exchange(wanted_preparation, std::nullopt);
    options.prepare(*welcome, first, [weak = weak_from_this()](const Status& status) {
      const auto self = weak.lock();
      if (!self) return;
      self->preparing = false;
      if (self->leaving) return;
      if (self->wanted_preparation) return self->prepare();
      if (!self->answer_preparation) return;  // who asked is gone
      if (status) return self->send(PreparedNews{});
      self->send(FailedNews{self->generation + 1, self->own_failure(status.error().message)});
    });
  }

  void carry_out(const StartOrder& order) {
    generation = order.generation;
    gpu_timer.cancel();
    gpus_free = nullptr;
    unstarted.reset();
    first_rank = order.first_rank;
    world_size = order.world_size;
    exits.clear();
    stopping = false;
    generation_started = clock.steady();
    gpu_wait_began.reset();
    group.reset();
    oom_kills_before = count_oom_kills();
    if (options.monitor) options.monitor->begin_generation(generation, world_size);
    if (auto started = start_ranks(order); !started) {
      log.error("{}", started.error().message);
      send(FailedNews{generation, own_failure(started.error().message)});
      unstarted = own_failure(started.error().message);
      // Those that had been started are being killed.
      return stop_and_report(milliseconds(0));
    }
    send(StartedNews{generation});
    if (options.monitor) tell_progress_later();
  }

  void tell_progress_later() {
    progress_timer.expires_after(options.progress_every);
    progress_timer.async_wait([weak = weak_from_this()](const boost::system::error_code& error) {
      const auto self = weak.lock();
      if (error || !self || self->leaving || self->stopping || !self->connected) return;
      const TrainingProgress furthest = self->options.monitor->furthest();
      if (furthest != std::exchange(self->told_progress, furthest))
        self->send(ProgressNews{self->generation, furthest});
      self->tell_progress_later();
    });
  }

  Status start_ranks(const StartOrder& order) {
    if (order.command) {
      auto program = find_program(order.command->argv.at(0),
                                  options.environment.get("PATH").value_or(""), order.command->cwd);
      if (!program) return fail(std::move(program).error());
      options.program = std::move(*program);
      options.argv = order.command->argv;
      options.cwd = order.command->cwd;
      for (const auto& [name, value] : order.command->env) options.environment.set(name, value);
    }
    torch = installed_torch(options.program, options.environment);
    std::vector<RankSpec> specs;
    rank_folders.clear();
    for (int local_rank = 0; local_rank < options.ranks; ++local_rank) {
      auto files = place_files(local_rank);
      if (!files) return fail(std::move(files).error());
      auto spec = make_spec(order, local_rank, *files);
      if (!spec) return fail(std::move(spec).error());
      rank_folders.push_back(std::move(*files));
      specs.push_back(std::move(*spec));
    }
    RankGroup::Events events;
    events.on_exit = [this](const RankExit& exit) { note_exit(exit); };
    events.on_pause = [this](const RankPause& pause) { note_pause(pause); };
    pauses = PauseNotices(options.pause_limit);
    group = std::make_unique<RankGroup>(context, reaper, clock, log, options.marker,
                                        std::move(events), options.pause_limit);
    if (auto started = group->start(specs); !started) return started;
    for (const RankSpec& spec : specs) follow(spec);
    const auto pids = group->pids();
    log.info("generation {}: started {} (pid{} {})", generation,
             specs.size() == 1
                 ? fmt::format("rank {}", first_rank)
                 : fmt::format("ranks {} to {}", first_rank, first_rank + options.ranks - 1),
             specs.size() == 1 ? "" : "s",
             pids.size() == 1 ? std::to_string(pids[0])
                              : fmt::format("{}...{}", pids.front(), pids.back()));
    return {};
  }

  Result<RankFiles> place_files(int local_rank) const {
    auto files =
        options.hooks.files
            ? options.hooks.files(generation, local_rank)
            : Result<RankFiles>(rank_files(run_dir, generation, welcome->node_rank, local_rank));
    if (!files || files->folder.empty()) return files;
    std::error_code error;
    std::filesystem::create_directories(files->folder, error);
    if (error)
      return errno_error(error.value(),
                         fmt::format("make the log folder {}", files->folder.string()));
    return files;
  }

  Result<RankSpec> make_spec(const StartOrder& order, int local_rank,
                             const RankFiles& files) const {
    RankPlace place;
    place.rank = order.first_rank + local_rank;
    place.local_rank = local_rank;
    place.node_rank = order.group_rank;
    place.world_size = order.world_size;
    place.local_world_size = options.ranks;
    place.nodes = order.nodes;
    place.generation = order.generation;
    place.max_restarts = order.max_restarts;
    place.run_id = welcome->run_id;
    place.master_addr = options.master_addr;
    place.master_port = options.leader_port;
    place.error_file = files.error_file();
    place.torch = torch;
    Variables variables = rank_environment(options.environment, place);
    const size_t equals = options.marker.find('=');
    variables.set(options.marker.substr(0, equals), options.marker.substr(equals + 1));

    RankSpec spec;
    spec.rank = place.rank;
    spec.local_rank = local_rank;
    spec.process.program = options.program;
    spec.process.argv = options.argv;
    spec.process.cwd = options.cwd;
    spec.process.open_files = options.open_files;
    spec.stdout_path = files.stdout_log();
    spec.stderr_path = files.stderr_log();
    if (options.hooks.adjust)
      if (auto status = options.hooks.adjust(place, variables, spec); !status)
        return fail(std::move(status).error());
    spec.process.environment = variables.to_strings();
    return spec;
  }

  void follow(const RankSpec& spec) {
    for (const auto stream : {Console::Stream::kOut, Console::Stream::kErr}) {
      LogPump::Source source;
      source.path = stream == Console::Stream::kOut ? spec.stdout_path : spec.stderr_path;
      if (source.path.empty()) continue;
      source.stream = stream;
      source.prefix = fmt::format("[{}:{}] ", welcome->node_rank, spec.rank);
      source.rank = spec.rank;
      source.on_console = !options.on_console || options.on_console(spec.rank, world_size, stream);
      source.collapsed = options.collapse_lines;
      source.node = welcome->node_rank;
      if (welcome->node_rank != 0 && options.node_0_shows &&
          options.node_0_shows(spec.rank, world_size))
        source.also = lines_to_node_0.tap(spec.rank, stream);
      if (options.hooks.adjust_source) options.hooks.adjust_source(spec, source);
      logs.follow(std::move(source));
    }
  }

  /// The ranks of this generation are gone: nothing of it comes any more.
  void end_logs() {
    const DroppedLog dropped = logs.end();
    if (dropped.bytes == 0) return;
    const std::string text =
        fmt::format("node {}, generation {}: the caps of its log files dropped {} lines, {} bytes",
                    welcome->node_rank, generation, dropped.lines, dropped.bytes);
    log.warn("{}", text);
    send(NoticeNews{"logs_dropped", text});
  }

  void carry_out(const LinesShownOrder&) { lines_to_node_0.arrived(); }

  RankFiles files_of(int local_rank) const {
    return rank_folders.at(static_cast<size_t>(local_rank));
  }

  void carry_out(const StopOrder& order) {
    if (order.generation != generation || (!group && !unstarted)) {
      // A generation that we never started: nothing of it can be alive here.
      return send(StoppedNews{order.generation, {}});
    }
    if (!group) return;  // could not be started; said so already
    if (!stopping) log.info("stopping this node's ranks: {}", order.reason);
    stop_and_report(order.grace);
  }

  void carry_out(const EndOrder& order) {
    ending = true;
    send(EndedNews{});
    if (!order.text.empty())
      log.write(order.exit_code == 0 ? Log::Level::kInfo : Log::Level::kError, order.text);
    stop_group(milliseconds(0), [this, code = order.exit_code] { leave(code); });
  }

  // --- the ends of ranks

  void note_exit(const RankExit& exit) {
    exits.push_back(exit);
    if (exit.stopped_by_us) return;
    if (!succeeded(exit.status)) {
      log.error("rank {} (local rank {}, pid {}) {}", exit.rank, exit.local_rank, exit.pid,
                describe(exit.status));
      if (stopping) return;  // what is told when all have ended includes it
      send(FailedNews{generation, evidence_of(exit)});
      // Its peers cannot go on without it; they need not wait for node 0 to say so.
      return stop_and_report(options.grace);
    }
    if (!stopping && exits.size() == static_cast<size_t>(options.ranks))
      stop_group(options.grace, in_this_generation([this] {
                   end_logs();
                   send(SucceededNews{generation});
                 }));
  }

  void note_pause(const RankPause& pause) {
    const auto notice = pauses.about(pause, welcome->node_rank, clock.steady());
    if (!notice) return;
    log.warn("{}", notice->text);
    send(*notice);
  }

  /// Stops the ranks, if there are any, and then calls `done`.
  void stop_group(milliseconds grace, std::function<void()> done) {
    if (!group) return asio::post(context, std::move(done));
    stopping = true;
    const bool same_signal = interrupted && options.forward_signals;
    group->stop(grace, std::move(done), same_signal ? *interrupted : SIGTERM);
  }

  /// The ranks are gone, but the driver may still be clearing up after one of them.
  std::optional<GpuHolder> held_gpu() const {
    if (!options.gpus.holders || !group ||
        clock.steady() - generation_started < options.gpus.after_life_of)
      return std::nullopt;
    for (const GpuHolder& holder : options.gpus.holders())
      if (group->had(holder.pid)) return holder;
    return std::nullopt;
  }

  /// Calls `then` once no rank of the generation holds a GPU, or patience is over. A second call
  /// takes the place of the first.
  void when_gpus_are_free(std::function<void()> then) {
    gpus_free = std::move(then);
    look_for_gpu_holders();
  }

  void look_for_gpu_holders() {
    constexpr milliseconds kLookAgain{50};
    if (!gpus_free) return;
    const auto holder = held_gpu();
    if (!holder || !waits_for(*holder)) return std::exchange(gpus_free, nullptr)();
    gpu_timer.expires_after(kLookAgain);
    gpu_timer.async_wait([weak = weak_from_this()](const boost::system::error_code& error) {
      const auto self = weak.lock();
      if (!error && self && !self->leaving) self->look_for_gpu_holders();
    });
  }

  bool waits_for(const GpuHolder& holder) {
    const SteadyTime now = clock.steady();
    if (!gpu_wait_began) {
      gpu_wait_began = now;
      log.warn("waiting for the driver to release GPU {}, which process {} held", holder.gpu,
               holder.pid);
    }
    if (now - *gpu_wait_began >= options.gpus.patience) {
      log.error("GPU {} is still held by process {}, which has ended; going on without waiting",
                holder.gpu, holder.pid);
      return false;
    }
    return true;
  }

  /// `then`, unless another generation has begun here by then: node 0 may not wait for an answer.
  std::function<void()> in_this_generation(std::function<void()> then) {
    return [this, of = generation, then = std::move(then)] {
      if (of == generation) then();
    };
  }

  void stop_and_report(milliseconds grace) {
    stop_group(grace, in_this_generation([this] {
                 when_gpus_are_free(in_this_generation([this] { report_stopped(); }));
               }));
  }

  void report_stopped() {
    end_logs();
    StoppedNews news{generation, {}};
    if (unstarted) news.evidence.push_back(*std::exchange(unstarted, std::nullopt));
    for (const RankExit& exit : exits) news.evidence.push_back(evidence_of(exit));
    last_evidence = news.evidence;
    send(news);
  }

  Evidence evidence_of(const RankExit& exit) const {
    Evidence evidence = about_this_node();
    evidence.rank = exit.rank;
    evidence.local_rank = exit.local_rank;
    evidence.pid = exit.pid;
    std::visit([&](const auto& status) { evidence.end = status; }, exit.status);
    evidence.stopped_by_us = exit.stopped_by_us;
    evidence.ended_at = exit.time;
    const auto ranks = static_cast<size_t>(std::max(options.ranks, 1));
    const size_t share = std::clamp(kAllTails / static_cast<size_t>(std::max(world_size, 1)),
                                    kSmallestTail, Evidence::kMaxTail);
    if (!succeeded(exit.status) && !exit.stopped_by_us)
      evidence.log_disk_full = disk_is_full(files_of(exit.local_rank).folder);
    if (!succeeded(exit.status) || exit.stopped_by_us)
      add_files(evidence, files_of(exit.local_rank), std::min(share, kNodeTails / ranks / 2));
    return evidence;
  }

  /// This agent itself could not do what it was told.
  Evidence own_failure(const std::string& message) const {
    Evidence evidence = about_this_node();
    evidence.rank = first_rank;
    evidence.pid = ::getpid();
    evidence.end = Exited{1};
    evidence.ended_at = clock.wall();
    evidence.stderr_tail = "megalaunch: " + message + "\n";
    return evidence;
  }

  Evidence about_this_node() const {
    Evidence evidence;
    evidence.node_rank = welcome->node_rank;
    evidence.host = host_name();
    if (const auto estimate = client->clock_offset()) {
      evidence.clock_offset = -estimate->offset;
      evidence.clock_uncertainty = estimate->error;
    }
    const auto oom_kills = count_oom_kills();
    evidence.oom_killed = oom_kills && oom_kills_before && *oom_kills > *oom_kills_before;
    return evidence;
  }

  // --- the end

  void interrupt(int signal) {
    if (leaving) return;
    const bool again = interrupted.has_value();
    interrupted = signal;
    if (!welcome) {
      log.info("stopped by {} before the job began", signal_name(signal));
      return leave(exit_code_of_signal(signal));
    }
    if (!connected) {
      log.info("{}: stopping this node's ranks; node 0 is not there", signal_name(signal));
      return stop_group(again ? milliseconds(0) : options.grace,
                        [this, signal] { leave(exit_code_of_signal(signal)); });
    }
    log.info("{}: stopping all ranks on all nodes{}", signal_name(signal), again ? " at once" : "");
    send(InterruptedNews{signal});
    stop_and_report(again ? milliseconds(0) : options.grace);
    // Node 0 may be gone, or not answer: then we leave by ourselves.
    interrupt_timer.expires_after((again ? milliseconds(0) : options.grace) + kInterruptPatience);
    interrupt_timer.async_wait(
        [weak = weak_from_this(), signal](const boost::system::error_code& error) {
          const auto self = weak.lock();
          if (error || !self) return;
          self->stop_group(milliseconds(0),
                           [self, signal] { self->leave(exit_code_of_signal(signal)); });
        });
  }

  void leave(int exit_code) {
    if (std::exchange(leaving, true)) return;
    if (options.hooks.ended) options.hooks.ended(exit_code, last_evidence);
    client->close();
    interrupt_timer.cancel();
    gpu_timer.cancel();
    progress_timer.cancel();
    lines_to_node_0.set_connected(false);
    end_logs();
    asio::post(context, [done = finished, exit_code] { done(exit_code); });
  }

  asio::io_context& context;
  Reaper& reaper;
  const Clock& clock;
  Log log;
  LogPump& pump;
  Options options;
  std::function<void(int)> finished;
  std::unique_ptr<GangClient> client;
  asio::steady_timer interrupt_timer;
  asio::steady_timer gpu_timer;
  std::function<void()> gpus_free;  ///< what waits for that; null: nothing
  asio::steady_timer progress_timer;
  LineSender lines_to_node_0;
  NodeLogs logs;
  std::optional<Welcome> welcome;
  bool connected = false;  ///< to node 0, and welcomed
  bool preparing = false;
  bool answer_preparation = false;         ///< node 0 still waits for the end of these steps
  std::optional<bool> wanted_preparation;  ///< the order that comes after them
  std::filesystem::path run_dir;
  std::optional<TorchVersion> torch;    ///< that the ranks will import
  std::vector<RankFiles> rank_folders;  ///< of the generation, by local rank
  int generation = -1;
  SteadyTime generation_started{};
  TrainingProgress told_progress;            ///< the last that node 0 was told of
  std::optional<SteadyTime> gpu_wait_began;  ///< in the present stop
  int first_rank = 0;
  int world_size = 0;
  std::unique_ptr<RankGroup>
      group;  ///< of the generation; null before the first and when it could not be started
  PauseNotices pauses{options.pause_limit};  ///< of the generation
  std::vector<RankExit> exits;               ///< in the order in which they happened
  std::optional<Evidence> unstarted;  ///< why the ranks of the generation could not be started
  std::vector<Evidence>
      last_evidence;  ///< what was said about the last generation that was stopped
  std::optional<int64_t> oom_kills_before;
  bool stopping = false;
  std::optional<int> interrupted;
  bool ending = false;  ///< node 0 has said its last word
  bool leaving = false;
};

Agent::Agent(asio::io_context& context, Reaper& reaper, const Clock& clock, Log log, LogPump& pump,
             Options options, std::function<void(int)> finished)
    : state_(std::make_shared<State>(context, reaper, clock, std::move(log), pump,
                                     std::move(options), std::move(finished))) {}

Agent::~Agent() {
  state_->client.reset();
  state_->group.reset();
}

void Agent::start() {
  state_->start();
}
void Agent::interrupt(int signal) {
  state_->interrupt(signal);
}

}  // namespace megalaunch
