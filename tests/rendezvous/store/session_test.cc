#include "rendezvous/store/session.h"

#include <gtest/gtest.h>

#include <set>

#include "tests/rendezvous/store/session_harness.h"

namespace megalaunch {
namespace {

using enum Operation;

const std::string kStop(1, kStopWaiting);
const std::string kCanceled(1, kWaitCanceled);

TEST(Session, AnsweringPingRepeatsItsNonce) {
  SessionHarness store;
  auto& client = store.connect();
  store.send(client,
             std::string(kMagicOpening) + encode_request(Dialect::kMagic, kPing, {}, 0x01020304));
  EXPECT_EQ(client.take(), "\x04\x03\x02\x01");
}

TEST(Session, EveryDialectReadsAndWritesTheSameKeys) {
  SessionHarness store;
  auto& l1 = store.connect(Dialect::kL1);
  auto& l2 = store.connect(Dialect::kL2);
  auto& magic = store.connect_magic();
  store.send(l1, encode_request(Dialect::kL1, kSet, {"/k", "1"}));
  store.send(l2, encode_request(Dialect::kL2, kAppend, {"/k", "2"}));
  store.send(magic, kGet, {"/k"});
  EXPECT_EQ(magic.take(), counted("12"));
  store.send(magic, kDelete, {"/k"});
  store.send(l1, encode_request(Dialect::kL1, kCheck, {"/k"}));
  EXPECT_EQ(l1.take(), std::string(1, kNotReady));
}

TEST(Session, AWaitIsAnsweredWhenItsLastKeyComes) {
  SessionHarness store;
  auto& waiting = store.connect_magic();
  auto& other = store.connect_magic();
  store.send(waiting, kWait, {"/a", "/b", "/a"});
  store.send(other, kSet, {"/a", ""});
  EXPECT_EQ(waiting.take(), "");
  store.send(other, kAdd, {"/b"}, 1);
  EXPECT_EQ(waiting.take(), kStop);
}

TEST(Session, AKeyThatCameAndWentStillCounts) {
  SessionHarness store;
  auto& waiting = store.connect_magic();
  auto& other = store.connect_magic();
  store.send(waiting, kWait, {"/a", "/b"});
  store.send(other, kSet, {"/a", "x"});
  store.send(other, kDelete, {"/a"});
  store.send(other, kSet, {"/b", "x"});
  EXPECT_EQ(waiting.take(), kStop);
}

TEST(Session, EveryWayToMakeAKeyWakesItsWaiters) {
  const std::vector<std::pair<Operation, std::vector<std::string_view>>> ways{
      {kSet, {"/k", "v"}},
      {kAppend, {"/k", "v"}},
      {kCompareSet, {"/k", "", "v"}},
      {kAdd, {"/k"}},
      {kMultiSet, {"/j", "", "/k", "v"}},
      {kQueuePush, {"/k", "v"}}};
  for (const auto& [operation, fields] : ways) {
    SessionHarness store;
    auto& waiting = store.connect_magic();
    auto& other = store.connect_magic();
    store.send(waiting, kWait, {"/k"});
    std::string request;
    encode_request(request, Dialect::kMagic, operation, fields, 1);
    store.send(other, request);
    EXPECT_EQ(waiting.take(), kStop) << int(operation);
  }
}

TEST(Session, ADeleteWakesNobody) {
  SessionHarness store;
  auto& waiting = store.connect_magic();
  auto& other = store.connect_magic();
  store.send(waiting, kWait, {"/k"});
  store.send(other, kDelete, {"/k"});
  EXPECT_EQ(waiting.take(), "");
  EXPECT_TRUE(waiting.session->waiting());
}

TEST(Session, CancelIsAnsweredAlsoWhenNothingIsPending) {
  SessionHarness store;
  auto& client = store.connect_magic();
  store.send(client, kCancelWait);
  EXPECT_EQ(client.take(), kCanceled);
}

TEST(Session, NothingFollowsTheAnswerToACancel) {
  SessionHarness store;
  auto& waiting = store.connect_magic();
  auto& other = store.connect_magic();
  store.send(waiting, kWait, {"/k"});
  store.send(waiting, kCancelWait);
  store.send(other, kSet, {"/k", "v"});
  EXPECT_EQ(waiting.take(), kCanceled);
}

TEST(Session, AWakeUpThatCrossesTheCancelIsDropped) {
  SessionHarness store;
  auto& waiting = store.connect_magic();
  store.send(waiting, kWait, {"/k"});
  ASSERT_TRUE(store.keys->set("/k", "v", store));  // the wake-up is on its way now
  ASSERT_EQ(store.wakes().size(), 1u);
  store.send(waiting, kCancelWait);
  EXPECT_EQ(waiting.take(), kCanceled);
}

TEST(Session, AWakeUpOfAnEarlierWaitDoesNotEndTheNextOne) {
  SessionHarness store;
  auto& waiting = store.connect_magic();
  store.send(waiting, kWait, {"/old"});
  ASSERT_TRUE(store.keys->set("/old", "v", store));
  std::vector<Ticket> late;
  late.swap(store.wakes());
  store.send(waiting, kWait, {"/new"});
  store.wakes() = late;
  store.deliver();
  EXPECT_EQ(waiting.take(), "");
  EXPECT_TRUE(waiting.session->waiting());
}

TEST(Session, ANewRequestOfALegacyClientDropsItsWait) {
  SessionHarness store;
  auto& waiting = store.connect();
  auto& other = store.connect_magic();
  store.send(waiting, encode_request(Dialect::kL1, kWait, {"/k"}));
  store.send(waiting, encode_request(Dialect::kL1, kKeyCount));
  EXPECT_EQ(waiting.take(), integer(0));
  store.send(other, kSet, {"/k", "v"});
  EXPECT_EQ(waiting.take(), "");
}

TEST(Session, ARequestBesideAWaitIsAnsweredInMagic) {
  SessionHarness store;
  auto& waiting = store.connect_magic();
  auto& other = store.connect_magic();
  store.send(waiting, kWait, {"/k"});
  store.send(waiting, kKeyCount);
  EXPECT_EQ(waiting.take(), integer(0));
  store.send(other, kSet, {"/k", "v"});
  EXPECT_EQ(waiting.take(), kStop);
}

TEST(Session, ADisconnectedClientLeavesNoWait) {
  SessionHarness store;
  const size_t before = store.budget.used();
  auto& waiting = store.connect_magic();
  auto& other = store.connect_magic();
  store.send(waiting, kWait, {"/a", "/b"});
  EXPECT_GT(store.budget.used(), before);
  store.disconnect(waiting);
  EXPECT_EQ(store.budget.used(), before);
  store.send(other, kSet, {"/a", "v"});
  EXPECT_TRUE(store.wakes().empty());
}

TEST(Session, APushWakesOnlyTheFirstInTheRow) {
  SessionHarness store;
  auto& first = store.connect_magic();
  auto& second = store.connect_magic();
  auto& pusher = store.connect_magic();
  store.send(first, kWait, {"/q"});
  store.send(second, kWait, {"/q"});
  store.send(pusher, kQueuePush, {"/q", "x"});
  EXPECT_EQ(first.take(), kStop);
  EXPECT_EQ(second.take(), "");
}

TEST(Session, AQueueIsFirstInFirstOutAndNotAKeyOfTheMap) {
  SessionHarness store;
  auto& client = store.connect_magic();
  store.send(client, kQueuePush, {"/q", "x"});
  store.send(client, kQueuePush, {"/q", ""});
  store.send(client, kQueueLength, {"/q"});
  store.send(client, kKeyCount);
  store.send(client, kCheck, {"/q"});
  EXPECT_EQ(client.take(), integer(2) + integer(0) + std::string(1, kReady));
  for (int pop = 0; pop < 3; ++pop) store.send(client, kQueuePop, {"/q"});
  EXPECT_EQ(client.take(), integer(2) + counted("x") + integer(1) + counted("") + integer(0));
  store.send(client, kCheck, {"/q"});
  EXPECT_EQ(client.take(), std::string(1, kNotReady));
}

TEST(Session, TheLastOfABarrierReleasesAll) {
  SessionHarness store;
  auto& a = store.connect_magic();
  auto& b = store.connect_magic();
  auto& c = store.connect_magic();
  store.send(a, kBarrier, {"/b"}, 3);
  store.send(b, kBarrier, {"/b"}, 3);
  EXPECT_EQ(a.take() + b.take(), "");
  store.send(c, kBarrier, {"/b"}, 3);
  EXPECT_EQ(a.take() + b.take() + c.take(), kStop + kStop + kStop);
  store.send(a, kGet, {"/b"});
  EXPECT_EQ(a.take(), counted("3"));
}

TEST(Session, AMissingValueReadsAsEmpty) {
  SessionHarness store;
  auto& client = store.connect_magic();
  store.send(client, kSet, {"/a", "1"});
  store.send(client, kMultiGet, {"/a", "/missing"});
  store.send(client, kGet, {"/missing"});
  EXPECT_EQ(client.take(), counted("1") + counted("") + counted(""));
}

TEST(Session, CompareSetAnswersAsTorchDoes) {
  SessionHarness store;
  auto& client = store.connect_magic();
  const auto compare_set = [&](std::string_view expected, std::string_view desired) {
    store.send(client, kCompareSet, {"/k", expected, desired});
    return client.take();
  };
  EXPECT_EQ(compare_set("no", "x"),
            counted("no"));  // missing: what was expected, and nothing stored
  EXPECT_EQ(store.keys->size(), 0);
  EXPECT_EQ(compare_set("", ""), counted(""));  // missing and expected empty: stored
  EXPECT_EQ(store.keys->size(), 1);
  EXPECT_EQ(compare_set("", "x"), counted("x"));
  EXPECT_EQ(compare_set("y", "z"), counted("x"));
}

TEST(Session, CountersAreTextAndParsedLikeC) {
  SessionHarness store;
  auto& client = store.connect_magic();
  for (const auto& [text, sum] :
       std::vector<std::pair<std::string, int64_t>>{{"41", 42},
                                                    {" \t-7", -6},
                                                    {"12abc", 13},
                                                    {"+5", 6},
                                                    {"0x10", 1},
                                                    {"9223372036854775807", INT64_MIN}}) {
    store.send(client, kSet, {"/n", text});
    store.send(client, kAdd, {"/n"}, 1);
    EXPECT_EQ(client.take(), integer(sum)) << text;
  }
  store.send(client, kGet, {"/n"});
  EXPECT_EQ(client.take(), counted("-9223372036854775808"));
}

TEST(Session, AddingToWhatIsNoNumberClosesTheConnectionAndChangesNothing) {
  for (const std::string text : {"", "abc", " ", "-", "+-1", "9223372036854775808"}) {
    SessionHarness store;
    auto& client = store.connect_magic();
    store.send(client, kSet, {"/n", text});
    store.send(client, kAdd, {"/n"}, 1);
    EXPECT_EQ(client.closed, Refusal::kNotANumber) << text;
    EXPECT_EQ(store.keys->get("/n").view(), text);
  }
}

TEST(Session, AWatcherIsPushedEveryChangeInOrder) {
  SessionHarness store;
  auto& watcher = store.connect(Dialect::kL1);
  auto& writer = store.connect_magic();
  store.send(watcher, kWatchKey, {"/k"});
  EXPECT_EQ(watcher.take(), std::string(1, kWatching));
  store.send(writer, kSet, {"/k", "1"});
  store.send(writer, kAdd, {"/k"}, 1);
  store.send(writer, kDelete, {"/k"});
  store.send(writer, kSet, {"/other", "1"});
  EXPECT_EQ(watcher.take(), '\1' + counted("/k") + counted("") + counted("1") +  // created
                                std::string(1, 0) + counted("/k") + counted("1") +
                                counted("2") +                                       // updated
                                '\2' + counted("/k") + counted("2") + counted(""));  // deleted
  store.disconnect(watcher);
  const size_t before = store.budget.used();
  store.send(writer, kSet, {"/k", "1"});
  store.send(writer, kDelete, {"/k"});
  EXPECT_EQ(store.budget.used(), before);
}

TEST(Session, RepliesBeyondTheLimitCloseTheConnection) {
  StoreLimits limits;
  limits.queued_bytes = 1000;
  SessionHarness store(limits);
  auto& client = store.connect_magic();
  store.send(client, kSet, {"/k", std::string(600, 'v')});
  store.send(client, kMultiGet, {"/k", "/k"});
  EXPECT_EQ(client.closed, Refusal::kReplyTooLong);
  auto& lister = store.connect_magic();
  for (int index = 0; index < 100; ++index)
    ASSERT_TRUE(store.keys->set(std::to_string(index), "", store));
  store.send(lister, kListKeys);
  EXPECT_EQ(lister.closed, Refusal::kReplyTooLong);
  EXPECT_EQ(lister.take(), "");
}

TEST(Session, RequestsThatPileUpRepliesPauseUntilTheyAreSent) {
  SessionHarness store;
  auto& client = store.connect_magic();
  store.send(client, kSet, {"/k", std::string(300'000, 'v')});
  std::string requests;
  for (int index = 0; index < 10; ++index)
    requests += encode_request(Dialect::kMagic, kGet, {"/k"});
  std::string output;
  const auto progress = client.session->receive(requests, output);
  EXPECT_EQ(progress.stop, Session::Stop::kOutputFull);
  EXPECT_LT(progress.consumed, requests.size());
  EXPECT_LT(output.size(), 2'000'000u);
}

TEST(Session, AListOfManyKeysIsCollectedAndSentInPieces) {
  SessionHarness store;
  constexpr int kKeys = 20'000;
  const std::string padding(60, '.');
  for (int index = 0; index < kKeys; ++index)
    ASSERT_TRUE(store.keys->set(padding + std::to_string(index), "", store));
  const size_t charged_before = store.budget.used();
  auto& client = store.connect_magic();
  auto& setter = store.connect_magic();
  // A wait ends in the middle: its answer must not stand in the middle of the list.
  store.send(client, kWait, {"/awaited"});
  std::string bytes = encode_request(Dialect::kMagic, kListKeys);
  std::string output;
  int turns = 0, pages = 0;
  for (auto stop = Session::Stop::kMoreWork; stop != Session::Stop::kNeedMore; ++turns) {
    std::string piece;
    const auto progress = client.session->receive(bytes, piece);
    bytes.erase(0, progress.consumed);
    EXPECT_LT(piece.size(), 1'000'000u);
    pages += piece.empty() ? 0 : 1;
    output += piece;
    stop = progress.stop;
    EXPECT_EQ(client.session->busy(), stop != Session::Stop::kNeedMore);
    if (turns == 1) store.send(setter, kSet, {"/awaited", "v"});
    output += client.take();
  }
  EXPECT_GT(turns, pages);
  EXPECT_GT(pages, 2);
  const auto count = load_little<int64_t>(output.data());
  EXPECT_GE(count, kKeys);  // "/awaited" came meanwhile: it may be listed or not
  EXPECT_LE(count, kKeys + 1);
  const std::string_view list = std::string_view(output).substr(8, output.size() - 9);
  const FieldList fields(list, static_cast<size_t>(count));
  EXPECT_EQ(std::set<std::string>(fields.begin(), fields.end()).size(), static_cast<size_t>(count));
  EXPECT_EQ(output.back(), kStopWaiting);
  EXPECT_LT(store.budget.used() - charged_before, 1000u);
}

TEST(Session, WhatTheTotalLimitForbidsIsRefusedAndTheRestGoesOn) {
  StoreLimits limits;
  limits.total_bytes = 10'000;
  SessionHarness store(limits);
  auto& greedy = store.connect_magic();
  auto& modest = store.connect_magic();
  store.send(greedy, kSet, {"/k", std::string(20'000, 'v')});
  EXPECT_EQ(greedy.closed, Refusal::kOutOfMemory);
  store.send(modest, kSet, {"/k", "v"});
  store.send(modest, kAppend, {"/k", "w"});
  store.send(modest, kGet, {"/k"});
  EXPECT_EQ(modest.take(), counted("vw"));
}

TEST(Session, AValueCannotBeAppendedBeyondItsLimit) {
  StoreLimits limits;
  limits.value_bytes = 100;
  SessionHarness store(limits);
  auto& client = store.connect_magic();
  store.send(client, kAppend, {"/k", std::string(60, 'v')});
  store.send(client, kAppend, {"/k", std::string(60, 'v')});
  EXPECT_EQ(client.closed, Refusal::kValueTooLong);
  EXPECT_EQ(store.keys->get("/k").view().size(), 60u);
}

}  // namespace
}  // namespace megalaunch
