#include "launcher/gang/leader.h"

#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "env/exit_code.h"
#include "env/file_aside.h"
#include "env/host.h"
#include "env/utc_time.h"
#include "launcher/causes/failure_report.h"
#include "launcher/gang/journal.h"
#include "rendezvous/gang/frame.h"
#include "rendezvous/gang/gang_server.h"
#include "rendezvous/gang/proof.h"
#include "rendezvous/store/store_server.h"

namespace megalaunch {
namespace {

namespace asio = boost::asio;

/// "llama3-8b-20241107T162721-9f3c": sorts by time, and two starts within a second differ.
std::string make_run_id(const std::string& name, WallTime now) {
  std::string stamp = iso_time(now);
  std::erase_if(stamp, [](char c) { return c == '-' || c == ':' || c == 'Z'; });
  return fmt::format("{}-{}-{}", name, stamp, fresh_nonce().substr(0, 4));
}

Error listen_error(Error error, const Leader::Options& options) {
  if (error.code != EADDRINUSE) return error;
  const auto holder = listener_on(options.port);
  error.kind = Error::Kind::kUsage;
  error.message = fmt::format(
      "cannot listen on port {}: {} uses it already. Stop it, or choose another port with "
      "MASTER_PORT or "
      "`launch: {{endpoint: host:port}}`.",
      options.port, holder ? *holder : "another process");
  return error;
}

}  // namespace

struct Leader::State : std::enable_shared_from_this<State> {
  State(asio::io_context& io, const Clock& clock_ref, Log log_value, const CauseRules& rules_ref,
        Options options_value, std::function<void(int)> on_finished, Journal journal_value)
      : context(io),
        clock(clock_ref),
        log(std::move(log_value)),
        options(std::move(options_value)),
        finished(std::move(on_finished)),
        journal(std::move(journal_value)),
        coordinator(options.coordinator, rules_ref, clock),
        timer(io) {}

  /// The server has to know us, so this comes after construction.
  Status open() {
    GangServer::Events events;
    events.on_join = [this](GangServer::MemberId id, const nlohmann::json& details,
                            const std::string& address) { return join(id, details, address); };
    events.on_joined = [this](GangServer::MemberId id) {
      coordinator.joined(nodes.at(id));
      act();
    };
    events.on_message = [this](GangServer::MemberId id, const nlohmann::json& message) {
      hear(id, message);
    };
    events.on_lost = [this](GangServer::MemberId id, const std::string& why) { lose(id, why); };
    server = std::make_unique<GangServer>(
        context,
        GangServer::Options{options.version, options.job, options.key, options.heartbeat_timeout},
        log, std::move(events));

    StoreServer::Options store_options;
    store_options.bind_address = options.bind_address;
    store_options.port = options.port;
    store_options.threads = options.store_threads;
    store_options.foreign_magic = kGangMagic;
    store_options.on_foreign = [gang = server.get()](UniqueFd socket) {
      gang->adopt(std::move(socket));
    };
    auto listening = StoreServer::listen(std::move(store_options), log);
    if (!listening) return fail(listen_error(std::move(listening).error(), options));
    store = std::move(*listening);
    // Until the first generation opens there is no key space that a rank may speak to.
    store->admit_only({});
    act();
    return {};
  }

  Result<nlohmann::json> join(GangServer::MemberId id, const nlohmann::json& message,
                              const std::string& address) {
    auto details = member_details_from_json(message);
    if (!details) return fail(std::move(details).error());
    auto welcome = coordinator.join(*details, address);
    if (!welcome) return fail(std::move(welcome).error());
    nodes[id] = welcome->node_rank;
    return to_json(*welcome);
  }

  void hear(GangServer::MemberId id, const nlohmann::json& message) {
    const auto node = nodes.find(id);
    if (node == nodes.end()) return;
    const auto news = news_from_json(message);
    if (!news) return log.warn("node {}: {}", node->second, news.error().message);
    if (const auto* lines = std::get_if<LinesNews>(&*news)) {
      for (const LinesNews::Line& line : lines->lines) show(node->second, line);
      return server->send(id, to_json(Order(LinesShownOrder{})));
    }
    coordinator.hear(node->second, *news);
    act();
  }

  void show(int node, const LinesNews::Line& line) {
    uint64_t& left_out = not_shown[line.rank];
    const std::string prefix = fmt::format("[{}:{}] ", node, line.rank);
    const auto stream = line.to_stderr ? Console::Stream::kErr : Console::Stream::kOut;
    const auto try_to_show = [&](std::string_view text) {
      return options.show && options.show(stream, prefix, text);
    };
    left_out += line.left_out;
    if (left_out > 0 &&
        try_to_show(fmt::format("[... {} lines of rank {} left out]", left_out, line.rank)))
      left_out = 0;
    if (line.left_out == 0 && (left_out > 0 || !try_to_show(line.text))) ++left_out;
  }

  void lose(GangServer::MemberId id, const std::string& why) {
    const auto node = nodes.find(id);
    if (node == nodes.end()) return;
    const int rank = node->second;
    nodes.erase(node);
    coordinator.left(rank, why);
    act();
  }

  std::optional<GangServer::MemberId> member_of(int node) const {
    for (const auto& [id, rank] : nodes)
      if (rank == node) return id;
    return std::nullopt;
  }

  /// Carries out what the coordinator left behind, then sleeps until its next deadline.
  void act() {
    for (const auto& action : coordinator.take_actions())
      std::visit([this](const auto& each) { carry_out(each); }, action);
    if (const auto why = std::exchange(no_command, std::nullopt)) {
      coordinator.give_up(*why);
      return act();
    }
    const auto deadline = coordinator.deadline();
    if (!deadline) {
      timer.cancel();
      return;
    }
    timer.expires_at(*deadline);
    timer.async_wait([weak = weak_from_this()](const boost::system::error_code& error) {
      const auto self = weak.lock();
      if (error || !self) return;
      self->coordinator.tick();
      self->act();
    });
  }

  void carry_out(const Coordinator::Send& send) {
    const auto member = member_of(send.node);
    if (!member) return;
    if (const auto* start = std::get_if<StartOrder>(&send.order)) {
      if (no_command) return;
      StartOrder order = *start;
      order.command = command;
      return server->send(*member, to_json(Order(std::move(order))));
    }
    if (!std::holds_alternative<EndOrder>(send.order))
      return server->send(*member, to_json(send.order));
    // Not over before it has closed: a packet may be lost, and come again when nobody is here.
    server->dismiss(*member, to_json(send.order), options.heartbeat_timeout);
  }

  void carry_out(const Coordinator::Drop& drop) {
    const auto member = member_of(drop.node);
    if (!member) return;
    log.error("dropping node {}: {}", drop.node, drop.why);
    nodes.erase(*member);
    server->dismiss(*member,
                    to_json(Order(EndOrder{drop.exit_code,
                                           fmt::format("node 0 dropped this node: {}", drop.why)})),
                    options.heartbeat_timeout);
  }

  void carry_out(const Coordinator::OpenGeneration& open) {
    store->start_generation();
    store->admit_only(open.addresses);
    journal.state().generation = open.generation;
    options.record.generations = open.generation + 1;
    // Not in the way of the start orders: it waits for the disk.
    asio::post(context, [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->write_record("running");
    });
    if (!options.make_command) return;
    auto made = options.make_command(coordinator.identity(), open.generation);
    if (made)
      command = std::move(*made);
    else
      no_command = std::move(made).error().message;
  }

  void write_record(const std::string& outcome) {
    options.record.outcome = outcome;
    warn_of(write_run_record(journal.run_dir(), options.record));
  }

  void carry_out(const Coordinator::Judged& judged) {
    journal.state().last_failure = judged.verdict.text;
    options.record.cause = to_string(judged.verdict.kind);
    journal.state().history = coordinator.history();
    const ReportFacts facts = coordinator.facts_of(judged);
    const auto folder = journal.run_dir() / fmt::format("attempt_{}", judged.generation);
    std::error_code ignored;
    std::filesystem::create_directories(folder, ignored);
    const auto json_text = report_json(facts, judged.evidence, judged.verdict, judged.decision)
                               .dump(2, ' ', false, nlohmann::json::error_handler_t::replace);
    warn_of(replace_file(folder / "report.txt",
                         report_text(facts, judged.evidence, judged.verdict, judged.decision)));
    warn_of(replace_file(folder / "report.json", json_text + "\n"));
  }

  void carry_out(const Coordinator::Record& record) {
    warn_of(journal.record(clock.wall(), record.event, record.detail));
  }

  void carry_out(const Coordinator::Finish& finish) {
    journal.state().exit_code = finish.exit_code;
    options.record.exit_code = finish.exit_code;
    options.record.ended = clock.wall();
    if (finish.exit_code == 0) options.record.cause.clear();
    write_record(outcome_of(finish.exit_code));
    warn_of(journal.record(clock.wall(), "ended", fmt::format("exit code {}", finish.exit_code)));
    asio::post(context, [done = finished, code = finish.exit_code] { done(code); });
  }

  /// In the words of RunRecord.
  std::string outcome_of(int exit_code) const {
    if (exit_code == 0) return "ok";
    if (exit_code == kExitInterrupted || exit_code == kExitTerminated) return "stopped";
    return options.record.cause == to_string(CauseKind::kOutOfMemory) ? "oom" : "error";
  }

  void warn_of(const Status& status) {
    if (status || std::exchange(warned, true)) return;
    log.warn("the run goes on, but its journal or reports cannot be written: {}",
             status.error().message);
  }

  asio::io_context& context;
  const Clock& clock;
  Log log;
  Options options;
  std::function<void(int)> finished;
  Journal journal;
  Coordinator coordinator;
  asio::steady_timer timer;
  std::map<GangServer::MemberId, int> nodes;
  std::map<int, uint64_t> not_shown;      ///< lines of other nodes' ranks that this console missed
  std::optional<RankCommand> command;     ///< of the current generation, when node 0 computes it
  std::optional<std::string> no_command;  ///< why it could not be computed
  bool warned = false;
  std::unique_ptr<GangServer> server;  // outlives the store, whose threads bring it sockets
  std::unique_ptr<StoreServer> store;
};

void Leader::end(int exit_code, const std::string& why) {
  state_->coordinator.give_up(why, exit_code);
  state_->act();
}

Leader::Leader(std::shared_ptr<State> state) : state_(std::move(state)) {}
Leader::~Leader() = default;
uint16_t Leader::port() const {
  return state_->store->port();
}
const Welcome& Leader::identity() const {
  return state_->coordinator.identity();
}

Result<std::unique_ptr<Leader>> Leader::start(asio::io_context& context, const Clock& clock,
                                              Log log, const CauseRules& rules, Options options,
                                              std::function<void(int)> finished) {
  auto earlier = options.run_id ? Result<std::optional<JournalState>>(std::nullopt)
                                : Journal::load(options.log_dir);
  if (!earlier) return fail(std::move(earlier).error());
  JournalState state;
  if (*earlier && !(*earlier)->exit_code && (*earlier)->job == options.job) {
    state = **earlier;
    if (!state.note.empty()) log.warn("{}", state.note);
    options.coordinator.history = state.history;
    options.coordinator.first_generation = state.generation + 1;
    log.info("continuing run {} at generation {}: its journal says that it had not ended",
             state.run_id, state.generation + 1);
  } else {
    state.job = options.job;
    state.run_id = options.run_id.value_or(make_run_id(options.run_name, clock.wall()));
    state.start_time = iso_time(clock.wall());
  }
  state.host = host_name();
  state.pid = ::getpid();
  state.nodes = options.coordinator.nodes;
  options.coordinator.job = options.job;
  options.coordinator.identity.run_id = state.run_id;
  options.coordinator.identity.start_time = state.start_time;
  options.coordinator.identity.log_dir = options.log_dir.string();
  options.record.run_id = state.run_id;
  options.record.started = clock.wall();
  const auto run_dir = options.run_id ? options.log_dir : options.log_dir / state.run_id;
  options.coordinator.run_dir = run_dir.string();
  auto journal = Journal::open(options.log_dir, run_dir, std::move(state));
  if (!journal) return fail(std::move(journal).error());
  auto leader = std::make_shared<State>(context, clock, std::move(log), rules, std::move(options),
                                        std::move(finished), std::move(*journal));
  if (auto open = leader->open(); !open) return fail(std::move(open).error());
  return std::unique_ptr<Leader>(new Leader(std::move(leader)));
}

}  // namespace megalaunch
