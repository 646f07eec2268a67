#include "launcher/causes/evidence.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace megalaunch {
namespace {

Evidence sample() {
  Evidence evidence;
  evidence.node_rank = 2;
  evidence.host = "gpu-7";
  evidence.rank = 17;
  evidence.local_rank = 1;
  evidence.pid = 4711;
  evidence.end = Signaled{11, true};
  evidence.oom_killed = true;
  evidence.ended_at = WallTime(milliseconds(1'730'996'841'250));
  evidence.clock_offset = milliseconds(-40);
  evidence.clock_uncertainty = milliseconds(3);
  evidence.error_file =
      ErrorFile{"ValueError: x", "Traceback", WallTime(seconds(1'730'996'841)), "/logs/error.json"};
  evidence.stderr_tail = "last words\n";
  return evidence;
}

TEST(Evidence, CrossesTheChannelUnchanged) {
  for (const RankEnd& end : {RankEnd(Exited{7}), RankEnd(Signaled{9, false}), RankEnd(LostNode{}),
                             RankEnd(NotRecorded{})}) {
    Evidence sent = sample();
    sent.end = end;
    const auto received = evidence_from_json(nlohmann::json::parse(to_json(sent).dump()));
    ASSERT_TRUE(received) << received.error().message;
    EXPECT_EQ(received->end, sent.end);
    EXPECT_EQ(received->node_rank, 2);
    EXPECT_EQ(received->host, "gpu-7");
    EXPECT_EQ(received->rank, 17);
    EXPECT_EQ(received->pid, 4711);
    EXPECT_TRUE(received->oom_killed);
    EXPECT_EQ(received->ended_at, sent.ended_at);
    EXPECT_EQ(received->clock_offset, sent.clock_offset);
    EXPECT_EQ(received->clock_uncertainty, sent.clock_uncertainty);
    EXPECT_EQ(received->error_file, sent.error_file);
    EXPECT_EQ(received->stderr_tail, sent.stderr_tail);
  }
}

TEST(Evidence, TheClocksOffsetIsTakenOff) {
  Evidence evidence;
  evidence.ended_at = WallTime(seconds(100));
  evidence.clock_offset = milliseconds(1500);
  EXPECT_EQ(evidence.corrected(), WallTime(milliseconds(98'500)));
}

TEST(Evidence, TailsAreBoundedAtALineAndMadeUtf8) {
  Evidence evidence = sample();
  evidence.stderr_tail = std::string(Evidence::kMaxTail, 'a') + "\nlast line \xff\xfe\n";
  const auto received = evidence_from_json(to_json(evidence));
  ASSERT_TRUE(received) << received.error().message;
  EXPECT_EQ(received->stderr_tail, "last line \uFFFD\uFFFD\n");
  evidence.stderr_tail = std::string(Evidence::kMaxTail, '\xff');  // each byte becomes three
  const auto grown = evidence_from_json(to_json(evidence));
  ASSERT_TRUE(grown) << grown.error().message;
  EXPECT_LE(grown->stderr_tail.size(), Evidence::kMaxTail);
}

TEST(Evidence, ABadMessageIsRefusedByTheNameOfTheMember) {
  const auto message = [](const char* key, const nlohmann::json& value) {
    auto json = to_json(sample());
    json[key] = value;
    const auto evidence = evidence_from_json(json);
    return evidence ? std::string() : evidence.error().message;
  };
  EXPECT_NE(message("rank", -1).find("'rank'"), std::string::npos);
  EXPECT_NE(message("pid", "x").find("'pid'"), std::string::npos);
  EXPECT_NE(message("end", 3).find("'end'"), std::string::npos);
  EXPECT_NE(message("end", {{"signal", 900}, {"core", false}}).find("'end'"), std::string::npos);
  EXPECT_NE(message("ended_at_ns", ~0ULL).find("'ended_at_ns'"), std::string::npos);
  EXPECT_NE(message("error_file", {{"message", 1}}).find("'error_file'"), std::string::npos);
  EXPECT_NE(message("stdout_tail", std::string(Evidence::kMaxTail + 1, 'x')).find("'stdout_tail'"),
            std::string::npos);
  EXPECT_FALSE(evidence_from_json(nlohmann::json::array()));
  EXPECT_FALSE(evidence_from_json(nlohmann::json::object()));
}

TEST(Evidence, SignalsHaveNames) {
  EXPECT_EQ(parse_signal("SIGKILL"), 9);
  EXPECT_EQ(parse_signal("SEGV"), 11);
  EXPECT_EQ(parse_signal("SIGNONE"), std::nullopt);
  EXPECT_EQ(describe(RankEnd(Signaled{9, false})), "was killed by SIGKILL (9)");
  EXPECT_EQ(describe(RankEnd(LostNode{})), "was lost with its node");
}

}  // namespace
}  // namespace megalaunch
