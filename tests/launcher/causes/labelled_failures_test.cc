// Scores diagnose() on tests/data/failures: failure logs written down from public reports and from
// provoked failures, each labelled in labels.tsv with its kind, whether a retry can help, and the
// rank that failed first.
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "launcher/causes/finished_logs.h"
#include "launcher/causes/restart_policy.h"

namespace megalaunch {
namespace {

struct Label {
  std::string path, kind, retry, rank, source;
};

std::vector<Label> read_labels(const std::filesystem::path& folder) {
  std::vector<Label> labels;
  std::ifstream file(folder / "labels.tsv");
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream fields(line);
    Label label;
    for (std::string* field : {&label.path, &label.kind, &label.retry, &label.rank, &label.source})
      std::getline(fields, *field, '\t');
    labels.push_back(std::move(label));
  }
  return labels;
}

TEST(LabelledFailures, AreAllDiagnosedRight) {
  const std::filesystem::path folder = std::filesystem::path(MEGALAUNCH_TEST_DATA) / "failures";
  const CauseRules rules = CauseRules::built_in();
  const auto labels = read_labels(folder);
  ASSERT_GE(labels.size(), 300U);
  for (const Label& label : labels) {
    SCOPED_TRACE(label.path + " (" + label.source + ")");
    ASSERT_FALSE(label.source.empty());
    const auto diagnosis = diagnose({folder / label.path}, rules);
    ASSERT_TRUE(diagnosis) << diagnosis.error().message;
    const Verdict& verdict = diagnosis->verdict;
    EXPECT_EQ(to_string(verdict.kind), label.kind) << verdict.rule << ": " << verdict.text;
    EXPECT_EQ(worth_retrying(verdict) ? "yes" : "no", label.retry)
        << verdict.rule << ": " << verdict.text;
    ASSERT_TRUE(verdict.first);
    if (label.rank == "-") continue;
    const LoggedRank& first = diagnosis->ranks[*verdict.first];
    EXPECT_TRUE(first.rank_known);
    EXPECT_EQ(std::to_string(first.evidence.rank), label.rank) << verdict.text;
  }
}

TEST(LabelledFailures, OneLineIsEnoughForItsKind) {
  const CauseRules rules = CauseRules::built_in();
  std::ifstream file(std::filesystem::path(MEGALAUNCH_TEST_DATA) / "failure_messages.tsv");
  size_t messages = 0;
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#') continue;
    const size_t tab = line.find('\t');
    ASSERT_NE(tab, line.npos) << line;
    const std::string message = line.substr(tab + 1);
    const auto ranks = read_log_text(message, "log", WallTime{}, rules);
    ASSERT_EQ(ranks.size(), 1U) << message;
    EXPECT_EQ(to_string(ranks[0].finding.kind), line.substr(0, tab)) << message;
    ++messages;
  }
  EXPECT_GE(messages, 250U);
}

TEST(LabelledFailures, HarmlessLogsHoldNone) {
  const std::filesystem::path folder =
      std::filesystem::path(MEGALAUNCH_TEST_DATA) / "failures/harmless";
  const CauseRules rules = CauseRules::built_in();
  size_t logs = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    SCOPED_TRACE(entry.path().string());
    ++logs;
    const auto diagnosis = diagnose({entry.path()}, rules);
    ASSERT_TRUE(diagnosis) << diagnosis.error().message;
    EXPECT_FALSE(diagnosis->verdict.first)
        << diagnosis->verdict.rule << ": " << diagnosis->verdict.text;
  }
  EXPECT_GE(logs, 4U);
}

}  // namespace
}  // namespace megalaunch
