#include "launcher/gang/message.h"

#include <nlohmann/json.hpp>

namespace megalaunch {
namespace {

using nlohmann::json;

/// Runs a reader that uses json::at() and get(), which throw on what is missing or ill-typed.
template <class Read>
auto guarded(const char* what, Read read) -> decltype(read()) {
  try {
    return read();
  } catch (const json::exception& error) {
    return fail(Error::Kind::kProtocol, "a peer sent {} that makes no sense: {}", what,
                error.what());
  }
}

template <class... Each>
struct Overloaded : Each... {
  using Each::operator()...;
};
template <class... Each>
Overloaded(Each...) -> Overloaded<Each...>;

/// An integer within [low, high]. get<int>() would round floats and cut what is too large.
template <class Int = int>
Int integer(const json& object, const char* name, int64_t low, int64_t high) {
  const json& value = object.at(name);
  if (value.is_number_integer() && !(value.is_number_unsigned() && value.get<uint64_t>() >> 63)) {
    const auto number = value.get<int64_t>();
    if (number >= low && number <= high) return static_cast<Int>(number);
  }
  throw json::other_error::create(
      599, fmt::format("'{}' is no integer between {} and {}", name, low, high), &value);
}

constexpr int64_t kMaxCount = 1 << 30;  ///< leaves room to add two of them
constexpr int64_t kMaxSignal = 64;
constexpr int64_t kMaxBytes = 1LL << 62;
constexpr int64_t kMaxIteration = 1LL << 53;
constexpr int64_t kMaxGraceMs = 30LL * 24 * 3600 * 1000;

int generation_in(const json& message) {
  return integer(message, "generation", -1, kMaxCount);
}

json or_null(const std::optional<int64_t>& value) {
  return value ? json(*value) : json(nullptr);
}

std::optional<int64_t> iteration_in(const json& message, const char* name) {
  if (message.at(name).is_null()) return std::nullopt;
  return integer<int64_t>(message, name, 0, kMaxIteration);
}

json to_json(const std::optional<RankCommand>& command) {
  if (!command) return nullptr;
  return {{"argv", command->argv}, {"env", command->env}, {"cwd", command->cwd}};
}

std::optional<RankCommand> command_from_json(const json& object) {
  if (object.is_null()) return std::nullopt;
  RankCommand command{object.at("argv").get<std::vector<std::string>>(),
                      object.at("env").get<std::map<std::string, std::string>>(),
                      object.at("cwd").get<std::string>()};
  if (command.argv.empty()) throw json::other_error::create(599, "'argv' is empty", &object);
  return command;
}

Result<std::vector<Evidence>> evidence_list(const json& list) {
  std::vector<Evidence> all;
  for (const json& each : list) {
    auto evidence = evidence_from_json(each);
    if (!evidence) return fail(std::move(evidence).error());
    all.push_back(std::move(*evidence));
  }
  return all;
}

}  // namespace

json to_json(const MemberDetails& details) {
  return {{"host", details.host},
          {"node_rank", details.node_rank ? json(*details.node_rank) : json(nullptr)},
          {"ranks", details.ranks},
          {"pid", details.pid},
          {"addresses", details.addresses},
          {"run_id", details.run_id},
          {"generation", details.generation}};
}

json to_json(const Welcome& welcome) {
  return {{"node_rank", welcome.node_rank},
          {"nodes", welcome.nodes},
          {"run_id", welcome.run_id},
          {"start_time", welcome.start_time},
          {"log_dir", welcome.log_dir}};
}

json to_json(const Order& order) {
  return std::visit(Overloaded{
                        [](const StartOrder& o) -> json {
                          return {{"type", "start"},
                                  {"generation", o.generation},
                                  {"world_size", o.world_size},
                                  {"first_rank", o.first_rank},
                                  {"max_restarts", o.max_restarts},
                                  {"command", to_json(o.command)},
                                  {"group_rank", o.group_rank},
                                  {"nodes", o.nodes}};
                        },
                        [](const StopOrder& o) -> json {
                          return {{"type", "stop"},
                                  {"generation", o.generation},
                                  {"grace_ms", o.grace.count()},
                                  {"reason", o.reason}};
                        },
                        [](const TellOrder& o) -> json {
                          return {{"type", "tell"}, {"text", o.text}};
                        },
                        [](const PrepareOrder& o) -> json {
                          return {{"type", "prepare"}, {"first", o.first}};
                        },
                        [](const EndOrder& o) -> json {
                          return {{"type", "end"}, {"exit_code", o.exit_code}, {"text", o.text}};
                        },
                        [](const LinesShownOrder&) -> json {
                          return {{"type", "lines_shown"}};
                        },
                    },
                    order);
}

json to_json(const News& news) {
  return std::visit(
      Overloaded{
          [](const StartedNews& n) -> json {
            return {{"type", "started"}, {"generation", n.generation}};
          },
          [](const FailedNews& n) -> json {
            return {{"type", "failed"},
                    {"generation", n.generation},
                    {"evidence", to_json(n.evidence)}};
          },
          [](const SucceededNews& n) -> json {
            return {{"type", "succeeded"}, {"generation", n.generation}};
          },
          [](const StoppedNews& n) -> json {
            json list = json::array();
            for (const Evidence& each : n.evidence) list.push_back(to_json(each));
            return {
                {"type", "stopped"}, {"generation", n.generation}, {"evidence", std::move(list)}};
          },
          [](const PreparedNews&) -> json {
            return {{"type", "prepared"}};
          },
          [](const EndedNews&) -> json {
            return {{"type", "ended"}};
          },
          [](const InterruptedNews& n) -> json {
            return {{"type", "interrupted"}, {"signal", n.signal}};
          },
          [](const NoticeNews& n) -> json {
            return {
                {"type", "notice"}, {"event", valid_utf8(n.event)}, {"text", valid_utf8(n.text)}};
          },
          [](const ProgressNews& n) -> json {
            return {{"type", "progress"},
                    {"generation", n.generation},
                    {"iteration", or_null(n.furthest.iteration)},
                    {"checkpoint", or_null(n.furthest.checkpoint)}};
          },
          [](const LinesNews& n) -> json {
            json list = json::array();
            for (const LinesNews::Line& each : n.lines)
              list.push_back({{"rank", each.rank},
                              {"stderr", each.to_stderr},
                              {"text", valid_utf8(each.text)},
                              {"left_out", each.left_out}});
            return {{"type", "lines"}, {"lines", std::move(list)}};
          },
      },
      news);
}

Result<MemberDetails> member_details_from_json(const json& message) {
  return guarded("details", [&]() -> Result<MemberDetails> {
    MemberDetails details;
    details.host = message.at("host").get<std::string>();
    if (const json& rank = message.at("node_rank"); !rank.is_null())
      details.node_rank = integer(message, "node_rank", -kMaxCount, kMaxCount);
    details.ranks = integer(message, "ranks", -kMaxCount, kMaxCount);
    details.pid = integer(message, "pid", 0, kMaxCount);
    details.addresses = message.at("addresses").get<std::vector<std::string>>();
    details.run_id = message.at("run_id").get<std::string>();
    details.generation = generation_in(message);
    if (details.ranks < 1 || details.ranks > 4096)
      return fail(Error::Kind::kProtocol, "an agent says that it starts {} ranks", details.ranks);
    if (details.addresses.size() > kMaxAddresses)
      return fail(Error::Kind::kProtocol, "an agent says that its machine has {} addresses",
                  details.addresses.size());
    return details;
  });
}

Result<Welcome> welcome_from_json(const json& message) {
  return guarded("a welcome", [&]() -> Result<Welcome> {
    Welcome welcome;
    welcome.node_rank = integer(message, "node_rank", 0, kMaxCount);
    welcome.nodes = integer(message, "nodes", 1, kMaxCount);
    welcome.run_id = message.at("run_id").get<std::string>();
    welcome.start_time = message.at("start_time").get<std::string>();
    welcome.log_dir = message.at("log_dir").get<std::string>();
    return welcome;
  });
}

Result<Order> order_from_json(const json& message) {
  return guarded("an order", [&]() -> Result<Order> {
    const auto type = message.at("type").get<std::string>();
    if (type == "start")
      return StartOrder{generation_in(message),
                        integer(message, "world_size", 1, kMaxCount),
                        integer(message, "first_rank", 0, kMaxCount),
                        integer(message, "max_restarts", 0, kMaxCount),
                        command_from_json(message.at("command")),
                        integer(message, "group_rank", 0, kMaxCount),
                        integer(message, "nodes", 1, kMaxCount)};
    if (type == "stop")
      return StopOrder{generation_in(message),
                       milliseconds(integer<int64_t>(message, "grace_ms", 0, kMaxGraceMs)),
                       message.at("reason").get<std::string>()};
    if (type == "tell") return TellOrder{message.at("text").get<std::string>()};
    if (type == "prepare") return PrepareOrder{message.at("first").get<bool>()};
    if (type == "end")
      return EndOrder{integer(message, "exit_code", 0, 255), message.at("text").get<std::string>()};
    if (type == "lines_shown") return LinesShownOrder{};
    return fail(Error::Kind::kProtocol, "node 0 sent an order of unknown type '{}'", type);
  });
}

Result<News> news_from_json(const json& message) {
  return guarded("news", [&]() -> Result<News> {
    const auto type = message.at("type").get<std::string>();
    if (type == "started") return StartedNews{generation_in(message)};
    if (type == "failed") {
      auto evidence = evidence_from_json(message.at("evidence"));
      if (!evidence) return fail(std::move(evidence).error());
      return FailedNews{generation_in(message), std::move(*evidence)};
    }
    if (type == "succeeded") return SucceededNews{generation_in(message)};
    if (type == "stopped") {
      auto evidence = evidence_list(message.at("evidence"));
      if (!evidence) return fail(std::move(evidence).error());
      return StoppedNews{generation_in(message), std::move(*evidence)};
    }
    if (type == "prepared") return PreparedNews{};
    if (type == "ended") return EndedNews{};
    if (type == "interrupted") return InterruptedNews{integer(message, "signal", 1, kMaxSignal)};
    if (type == "notice")
      return NoticeNews{message.at("event").get<std::string>(),
                        message.at("text").get<std::string>()};
    if (type == "progress")
      return ProgressNews{
          generation_in(message),
          {iteration_in(message, "iteration"), iteration_in(message, "checkpoint")}};
    if (type == "lines") {
      LinesNews news;
      for (const json& each : message.at("lines"))
        news.lines.push_back({integer(each, "rank", 0, kMaxCount), each.at("stderr").get<bool>(),
                              each.at("text").get<std::string>(),
                              integer<uint64_t>(each, "left_out", 0, kMaxBytes)});
      return news;
    }
    return fail(Error::Kind::kProtocol, "an agent sent news of unknown type '{}'", type);
  });
}

}  // namespace megalaunch
