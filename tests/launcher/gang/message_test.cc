#include "launcher/gang/message.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>

namespace megalaunch {
namespace {

using nlohmann::json;
using testing::HasSubstr;

/// Over the wire and back.
template <class T>
json again(const T& message) {
  return json::parse(to_json(message).dump());
}

TEST(Message, MemberDetailsSurviveTheWire) {
  MemberDetails details;
  details.host = "worker-3";
  details.node_rank = 3;
  details.ranks = 8;
  details.pid = 17;
  details.addresses = {"10.0.0.7", "fd00::7"};
  details.run_id = "run";
  details.generation = 5;
  const auto read = member_details_from_json(again(details));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->host, "worker-3");
  EXPECT_EQ(read->node_rank, 3);
  EXPECT_EQ(read->ranks, 8);
  EXPECT_EQ(read->pid, 17);
  EXPECT_EQ(read->addresses, details.addresses);
  EXPECT_EQ(read->run_id, "run");
  EXPECT_EQ(read->generation, 5);
  details.node_rank.reset();
  EXPECT_EQ(member_details_from_json(again(details))->node_rank, std::nullopt);
}

TEST(Message, AMachineWithEndlessAddressesIsNotHeard) {
  MemberDetails details;
  details.addresses.assign(kMaxAddresses, "10.0.0.7");
  EXPECT_TRUE(member_details_from_json(again(details)));
  details.addresses.emplace_back("10.0.0.7");
  EXPECT_FALSE(member_details_from_json(again(details)));
}

TEST(Message, AWelcomeSurvivesTheWire) {
  const auto read = welcome_from_json(again(Welcome{2, 4, "run", "2024-11-07T16:27:21Z", "/logs"}));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->node_rank, 2);
  EXPECT_EQ(read->nodes, 4);
  EXPECT_EQ(read->run_id, "run");
  EXPECT_EQ(read->start_time, "2024-11-07T16:27:21Z");
  EXPECT_EQ(read->log_dir, "/logs");
}

TEST(Message, OrdersSurviveTheWire) {
  const RankCommand command{{"python3", "train.py", ""}, {{"A", "1=2"}, {"B", ""}}, "/work dir"};
  const auto start = order_from_json(again(Order(StartOrder{3, 16, 8, 2, command})));
  ASSERT_TRUE(start);
  const auto& order = std::get<StartOrder>(*start);
  EXPECT_EQ(order.generation, 3);
  EXPECT_EQ(order.world_size, 16);
  EXPECT_EQ(order.first_rank, 8);
  EXPECT_EQ(order.max_restarts, 2);
  ASSERT_TRUE(order.command);
  EXPECT_EQ(order.command->argv, command.argv);
  EXPECT_EQ(order.command->env, command.env);
  EXPECT_EQ(order.command->cwd, command.cwd);
  EXPECT_FALSE(
      std::get<StartOrder>(*order_from_json(again(Order(StartOrder{0, 1, 0, 0, {}})))).command);

  const auto stop = order_from_json(again(Order(StopOrder{3, milliseconds(1500), "why"})));
  EXPECT_EQ(std::get<StopOrder>(*stop).grace, milliseconds(1500));
  EXPECT_EQ(std::get<StopOrder>(*stop).reason, "why");
  EXPECT_EQ(std::get<TellOrder>(*order_from_json(again(Order(TellOrder{"a\nb"})))).text, "a\nb");
  EXPECT_TRUE(std::get<PrepareOrder>(*order_from_json(again(Order(PrepareOrder{true})))).first);
  EXPECT_TRUE(
      std::holds_alternative<LinesShownOrder>(*order_from_json(again(Order(LinesShownOrder{})))));
  const auto end = order_from_json(again(Order(EndOrder{144, "spent"})));
  EXPECT_EQ(std::get<EndOrder>(*end).exit_code, 144);
}

TEST(Message, NewsSurviveTheWire) {
  Evidence evidence;
  evidence.rank = 5;
  evidence.host = "h";
  evidence.end = Signaled{9, true};
  evidence.stderr_tail = "line\n";
  EXPECT_EQ(std::get<StartedNews>(*news_from_json(again(News(StartedNews{2})))).generation, 2);
  const auto failed = news_from_json(again(News(FailedNews{2, evidence})));
  ASSERT_TRUE(failed);
  EXPECT_EQ(std::get<FailedNews>(*failed).evidence.rank, 5);
  EXPECT_EQ(std::get<FailedNews>(*failed).evidence.end, RankEnd(Signaled{9, true}));
  EXPECT_TRUE(
      std::holds_alternative<SucceededNews>(*news_from_json(again(News(SucceededNews{2})))));
  const auto stopped = news_from_json(again(News(StoppedNews{2, {evidence, evidence}})));
  ASSERT_TRUE(stopped);
  EXPECT_EQ(std::get<StoppedNews>(*stopped).evidence.size(), 2u);
  EXPECT_TRUE(std::holds_alternative<PreparedNews>(*news_from_json(again(News(PreparedNews{})))));
  EXPECT_EQ(std::get<InterruptedNews>(*news_from_json(again(News(InterruptedNews{2})))).signal, 2);
  const LinesNews sent{{{9, true, "text", 0}, {9, false, "", 123}}};
  const auto lines = news_from_json(again(News(sent)));
  ASSERT_TRUE(lines);
  EXPECT_EQ(std::get<LinesNews>(*lines).lines, sent.lines);
}

TEST(Message, ANoticeSurvivesTheWire) {
  const auto read = news_from_json(again(News(NoticeNews{"paused", "rank 3 was stopped"})));
  ASSERT_TRUE(read);
  EXPECT_EQ(std::get<NoticeNews>(*read).event, "paused");
  EXPECT_EQ(std::get<NoticeNews>(*read).text, "rank 3 was stopped");
}

TEST(Message, ProgressSurvivesTheWire) {
  const TrainingProgress far{1LL << 40, 1LL << 39}, none;
  const auto read = news_from_json(again(News(ProgressNews{3, far})));
  ASSERT_TRUE(read);
  EXPECT_EQ(std::get<ProgressNews>(*read).generation, 3);
  EXPECT_EQ(std::get<ProgressNews>(*read).furthest, far);
  const auto read_none = news_from_json(again(News(ProgressNews{3, none})));
  ASSERT_TRUE(read_none);
  EXPECT_EQ(std::get<ProgressNews>(*read_none).furthest, none);
  json negative = to_json(News(ProgressNews{}));
  negative["iteration"] = -1;
  EXPECT_FALSE(news_from_json(negative));
}

TEST(Message, AnUnknownTypeIsRefusedByName) {
  const auto order = order_from_json({{"type", "dance"}});
  ASSERT_FALSE(order);
  EXPECT_EQ(order.error().kind, Error::Kind::kProtocol);
  EXPECT_THAT(order.error().message, HasSubstr("'dance'"));
  EXPECT_FALSE(news_from_json({{"type", "dance"}}));
  EXPECT_FALSE(news_from_json(json::object()));
  EXPECT_FALSE(news_from_json(json::array()));
  EXPECT_FALSE(order_from_json(nullptr));
}

TEST(Message, EveryFieldIsNeeded) {
  const auto refuses_without_any_field = [](json whole, auto read) {
    ASSERT_TRUE(read(whole)) << whole;
    for (const auto& [name, value] : whole.items()) {
      json part = whole;
      part.erase(name);
      EXPECT_FALSE(read(part)) << "without " << name;
      part[name] = json::array({json::array()});
      EXPECT_FALSE(read(part)) << "with an ill-typed " << name;
    }
  };
  refuses_without_any_field(to_json(MemberDetails{}), member_details_from_json);
  refuses_without_any_field(to_json(Welcome{}), welcome_from_json);
  for (const Order& order :
       {Order(StartOrder{}), Order(StopOrder{}), Order(TellOrder{}), Order(EndOrder{})})
    refuses_without_any_field(to_json(order), order_from_json);
  for (const News& news :
       {News(StartedNews{}), News(FailedNews{}), News(StoppedNews{}), News(SucceededNews{}),
        News(InterruptedNews{}), News(NoticeNews{}), News(ProgressNews{}), News(LinesNews{})})
    refuses_without_any_field(to_json(news), news_from_json);
}

TEST(Message, NumbersThatAreNoIntegersOrOutOfRangeAreRefused) {
  const auto with = [](json message, const char* field, json value) {
    message[field] = std::move(value);
    return message;
  };
  const json details = to_json(MemberDetails{});
  for (const json& bad : {json(1.5), json(1e30), json(int64_t{1} << 40), json(0), json(4097)})
    EXPECT_FALSE(member_details_from_json(with(details, "ranks", bad))) << bad;
  // The coordinator counts on from it.
  EXPECT_FALSE(
      member_details_from_json(with(details, "generation", std::numeric_limits<int>::max())));
  EXPECT_FALSE(member_details_from_json(with(details, "generation", -2)));
  EXPECT_FALSE(member_details_from_json(with(details, "node_rank", 1e10)));
  EXPECT_FALSE(member_details_from_json(with(details, "node_rank", "1")));
  EXPECT_FALSE(news_from_json(with(to_json(News(StartedNews{})), "generation", 1e30)));
  EXPECT_FALSE(news_from_json(with(to_json(News(InterruptedNews{})), "signal", 0)));
  EXPECT_FALSE(news_from_json(with(to_json(News(InterruptedNews{})), "signal", 200)));
  EXPECT_FALSE(order_from_json(with(to_json(Order(StopOrder{})), "grace_ms", -1)));
  EXPECT_FALSE(order_from_json(
      with(to_json(Order(StopOrder{})), "grace_ms", std::numeric_limits<int64_t>::max())));
}

TEST(Message, ACommandWithoutAProgramIsRefused) {
  json start = to_json(Order(StartOrder{0, 1, 0, 0, RankCommand{{"x"}, {}, "/"}}));
  ASSERT_TRUE(order_from_json(start));
  start["command"]["argv"] = json::array();
  EXPECT_FALSE(order_from_json(start));
}

}  // namespace
}  // namespace megalaunch
