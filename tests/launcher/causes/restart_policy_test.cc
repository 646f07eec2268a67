#include "launcher/causes/restart_policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "launcher/causes/verdict.h"

namespace megalaunch {
namespace {

using testing::HasSubstr;

Verdict failure(CauseKind kind, std::string signature = "same") {
  Verdict verdict;
  verdict.first = 0;
  verdict.kind = kind;
  verdict.signature = std::move(signature);
  verdict.habit = CauseRules::built_in().habit(kind);
  return verdict;
}

/// A job's life: one history, failure after failure.
struct Life {
  RestartLimits limits;
  RestartHistory history;

  RestartDecision fail(const Verdict& verdict, TrainingProgress progress = {},
                       RankEnd end = Exited{7}) {
    RestartDecision decision = decide_restart(limits, history, verdict, end, progress);
    history = decision.history;
    return decision;
  }
};

std::optional<milliseconds> retry(const RestartDecision& decision) {
  const auto* found = std::get_if<Retry>(&decision.action);
  return found == nullptr ? std::nullopt : std::optional(found->after);
}

int exit_code(const RestartDecision& decision) {
  const auto* found = std::get_if<End>(&decision.action);
  return found == nullptr ? -1 : found->exit_code;
}

TEST(RestartPolicy, ACauseThatARetryDoesNotCureEndsWithTheRanksOwnCode) {
  Life life;
  EXPECT_EQ(exit_code(life.fail(failure(CauseKind::kConfig), {}, Exited{7})), 7);
  EXPECT_EQ(exit_code(life.fail(failure(CauseKind::kOutOfMemory), {}, Signaled{6})), 1)
      << "1 for a signal";
  EXPECT_EQ(exit_code(life.fail(failure(CauseKind::kConfig), {}, Exited{255})), 1)
      << "128 and above ask for a retry";
  EXPECT_EQ(life.history.restarts, 0);
}

TEST(RestartPolicy, ACurableCauseIsRetriedUntilItsCountIsSpent) {
  Life life;
  life.limits.max = 3;
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(retry(life.fail(failure(CauseKind::kNetwork)))) << i;
  const auto end = life.fail(failure(CauseKind::kNetwork));
  EXPECT_EQ(exit_code(end), 144);
  EXPECT_THAT(end.reason, HasSubstr("3 of 3 restarts are used up"));
}

TEST(RestartPolicy, TheDelayDoublesUpToItsCapAndStartsAnewAfterProgress) {
  Life life;
  life.limits = {.max = 9,
                 .lifetime = {},
                 .per_kind = {{CauseKind::kStore, 9}},
                 .backoff = milliseconds(5000),
                 .backoff_cap = milliseconds(30'000)};
  for (const int expected : {5000, 10'000, 20'000, 30'000, 30'000})
    EXPECT_EQ(retry(life.fail(failure(CauseKind::kStore))), milliseconds(expected));
  EXPECT_EQ(retry(life.fail(failure(CauseKind::kStore), {.iteration = 10, .checkpoint = {}})),
            milliseconds(5000));
}

TEST(RestartPolicy, ProgressIsAnIterationBeyondAllBeforeOrANewerCheckpoint) {
  Life life;
  life.limits.max = 1;
  EXPECT_TRUE(retry(life.fail(failure(CauseKind::kSignal), {.iteration = 150, .checkpoint = 100})));
  EXPECT_EQ(
      exit_code(life.fail(failure(CauseKind::kSignal), {.iteration = 149, .checkpoint = 100})), 144)
      << "what was lost and repeated is no progress";
  EXPECT_TRUE(retry(life.fail(failure(CauseKind::kSignal), {.iteration = 149, .checkpoint = 140})));
  EXPECT_TRUE(retry(life.fail(failure(CauseKind::kSignal), {.iteration = 151, .checkpoint = 140})));
  EXPECT_EQ(exit_code(life.fail(failure(CauseKind::kSignal), {})), 144)
      << "died before it printed anything";
}

TEST(RestartPolicy, TheSameDeterministicFailureTwiceWithoutProgressEndsTheJob) {
  Life life;
  EXPECT_TRUE(retry(life.fail(failure(CauseKind::kNumeric), {.iteration = 50, .checkpoint = {}})));
  const auto end =
      life.fail(failure(CauseKind::kNumeric), {.iteration = 50, .checkpoint = {}}, Exited{16});
  EXPECT_EQ(exit_code(end), 16);
  EXPECT_THAT(end.reason, HasSubstr("the same failure (numeric) came back"));
  EXPECT_THAT(end.reason, HasSubstr("iteration 50"));
}

TEST(RestartPolicy, TheSameFailureWithProgressInBetweenIsRetried) {
  Life life;
  for (int i = 1; i < 10; ++i)
    EXPECT_TRUE(retry(life.fail(failure(CauseKind::kDevice), {.iteration = i, .checkpoint = {}})))
        << i;
}

TEST(RestartPolicy, KillsFromOutsideAreRetriedHoweverOftenTheyLookTheSame) {
  Life life;
  life.limits.max = 5;
  for (int i = 0; i < 5; ++i)
    EXPECT_TRUE(retry(life.fail(failure(CauseKind::kSignal), {}, Signaled{9}))) << i;
  EXPECT_EQ(exit_code(life.fail(failure(CauseKind::kSignal), {}, Signaled{9})), 144);
}

TEST(RestartPolicy, KindsAreCountedApart) {
  Life life;
  life.limits.max = 10;
  EXPECT_TRUE(retry(life.fail(failure(CauseKind::kDevice, "a"))));
  EXPECT_TRUE(retry(life.fail(failure(CauseKind::kNetwork, "b"))));
  EXPECT_EQ(exit_code(life.fail(failure(CauseKind::kDevice, "c"))), 144)
      << "one retry per device failure";
}

TEST(RestartPolicy, AnUnknownErrorIsRetriedOnlyAfterTraining) {
  Life life;
  EXPECT_EQ(exit_code(life.fail(failure(CauseKind::kUnknown), {}, Exited{3})), 3);
  Verdict trained = failure(CauseKind::kUnknown, "other");
  trained.made_progress = true;
  EXPECT_TRUE(retry(life.fail(trained, {.iteration = 5, .checkpoint = {}})));
}

TEST(RestartPolicy, TheJobFilesNumberReplacesTheKinds) {
  Life life;
  life.limits.per_kind = {
      {CauseKind::kUnknown, 2}, {CauseKind::kStore, 0}, {CauseKind::kConfig, 1}};
  EXPECT_TRUE(retry(life.fail(failure(CauseKind::kUnknown, "a"))))
      << "also without progress: it was asked for";
  EXPECT_EQ(exit_code(life.fail(failure(CauseKind::kStore), {}, Exited{5})), 5);
  EXPECT_TRUE(retry(life.fail(failure(CauseKind::kConfig, "b"))));
  Verdict never = failure(CauseKind::kUnknown, "c");
  never.habit.retries = 0;
  never.habit.pinned = true;
  EXPECT_EQ(exit_code(life.fail(never)), 7) << "a rule that says never stays at that";
}

TEST(RestartPolicy, TheLifetimesLimitHoldsInSpiteOfProgress) {
  Life life;
  life.limits.lifetime = 2;
  EXPECT_TRUE(retry(life.fail(failure(CauseKind::kSignal), {.iteration = 1, .checkpoint = {}})));
  EXPECT_TRUE(retry(life.fail(failure(CauseKind::kSignal), {.iteration = 2, .checkpoint = {}})));
  EXPECT_EQ(exit_code(life.fail(failure(CauseKind::kSignal), {.iteration = 3, .checkpoint = {}})),
            144);
  EXPECT_EQ(life.history.restarts, 2);
}

TEST(RestartPolicy, NoRestartsAtAllEndACurableCauseWith144) {
  Life life;
  life.limits.max = 0;
  EXPECT_EQ(exit_code(life.fail(failure(CauseKind::kLostNode), {}, LostNode{})), 144);
}

TEST(RestartPolicy, TheHistorySurvivesTheJournal) {
  Life life;
  life.fail(failure(CauseKind::kStore, "x/1"), {.iteration = 12, .checkpoint = 10});
  life.fail(failure(CauseKind::kSignal, "y/2"), {.iteration = 11, .checkpoint = 10});
  const auto read = restart_history_from_json(nlohmann::json::parse(to_json(life.history).dump()));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->restarts, 2);
  EXPECT_EQ(read->since_progress, 2);
  EXPECT_EQ(read->per_kind, life.history.per_kind);
  EXPECT_EQ(read->last_signature, "y/2");
  EXPECT_EQ(read->furthest.iteration, 12);
  EXPECT_EQ(read->furthest.checkpoint, 10);
  for (const char* bad :
       {"[]", "{}", R"({"generation": -1})",
        R"({"generation":1,"since_progress":1,"per_kind":{"x":1},"last_signature":""})"})
    EXPECT_FALSE(restart_history_from_json(nlohmann::json::parse(bad))) << bad;
}

}  // namespace
}  // namespace megalaunch
