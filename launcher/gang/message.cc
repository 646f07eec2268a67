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

json to_json(const std::optional<RankCommand>& command) {
  if (!command) return nullptr;
  return {{"argv", command->argv}, {"env", command->env}, {"cwd", command->cwd}};
}

std::optional<RankCommand> command_from_json(const json& object) {
  if (object.is_null()) return std::nullopt;
  return RankCommand{object.at("argv").get<std::vector<std::string>>(),
                     object.at("env").get<std::map<std::string, std::string>>(),
                     object.at("cwd").get<std::string>()};
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
                    },
                    order);
}

json to_json(const News& news) {
  return std::visit(Overloaded{
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
                          return {{"type", "stopped"},
                                  {"generation", n.generation},
                                  {"evidence", std::move(list)}};
                        },
                        [](const PreparedNews&) -> json {
                          return {{"type", "prepared"}};
                        },
                        [](const InterruptedNews& n) -> json {
                          return {{"type", "interrupted"}, {"signal", n.signal}};
                        },
                    },
                    news);
}

Result<MemberDetails> member_details_from_json(const json& message) {
  return guarded("details", [&]() -> Result<MemberDetails> {
    MemberDetails details;
    details.host = message.at("host").get<std::string>();
    if (const json& rank = message.at("node_rank"); !rank.is_null())
      details.node_rank = rank.get<int>();
    details.ranks = message.at("ranks").get<int>();
    details.pid = message.at("pid").get<int>();
    details.run_id = message.at("run_id").get<std::string>();
    details.generation = message.at("generation").get<int>();
    if (details.ranks < 1 || details.ranks > 4096)
      return fail(Error::Kind::kProtocol, "an agent says that it starts {} ranks", details.ranks);
    return details;
  });
}

Result<Welcome> welcome_from_json(const json& message) {
  return guarded("a welcome", [&]() -> Result<Welcome> {
    Welcome welcome;
    welcome.node_rank = message.at("node_rank").get<int>();
    welcome.nodes = message.at("nodes").get<int>();
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
      return StartOrder{message.at("generation").get<int>(), message.at("world_size").get<int>(),
                        message.at("first_rank").get<int>(), message.at("max_restarts").get<int>(),
                        command_from_json(message.at("command")),
                        message.at("group_rank").get<int>(), message.at("nodes").get<int>()};
    if (type == "stop")
      return StopOrder{message.at("generation").get<int>(),
                       milliseconds(message.at("grace_ms").get<int64_t>()),
                       message.at("reason").get<std::string>()};
    if (type == "tell") return TellOrder{message.at("text").get<std::string>()};
    if (type == "prepare") return PrepareOrder{message.at("first").get<bool>()};
    if (type == "end")
      return EndOrder{message.at("exit_code").get<int>(), message.at("text").get<std::string>()};
    return fail(Error::Kind::kProtocol, "node 0 sent an order of unknown type '{}'", type);
  });
}

Result<News> news_from_json(const json& message) {
  return guarded("news", [&]() -> Result<News> {
    const auto type = message.at("type").get<std::string>();
    if (type == "started") return StartedNews{message.at("generation").get<int>()};
    if (type == "failed") {
      auto evidence = evidence_from_json(message.at("evidence"));
      if (!evidence) return fail(std::move(evidence).error());
      return FailedNews{message.at("generation").get<int>(), std::move(*evidence)};
    }
    if (type == "succeeded") return SucceededNews{message.at("generation").get<int>()};
    if (type == "stopped") {
      auto evidence = evidence_list(message.at("evidence"));
      if (!evidence) return fail(std::move(evidence).error());
      return StoppedNews{message.at("generation").get<int>(), std::move(*evidence)};
    }
    if (type == "prepared") return PreparedNews{};
    if (type == "interrupted") return InterruptedNews{message.at("signal").get<int>()};
    return fail(Error::Kind::kProtocol, "an agent sent news of unknown type '{}'", type);
  });
}

}  // namespace megalaunch
