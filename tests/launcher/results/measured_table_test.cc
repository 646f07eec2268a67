#include "launcher/results/measured_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launcher/results/report.h"
#include "tests/lib/temp_dir.h"

namespace megalaunch {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

/// The recorded table of real runs on 80 GB cards, with everything derived.
std::vector<RunSummary> recorded_table() {
  auto rows = read_measured_table(MEGALAUNCH_TEST_DATA "/results/measured.csv");
  EXPECT_TRUE(rows) << rows.error().message;
  for (RunSummary& row : *rows) derive(row, {});
  return std::move(*rows);
}

std::vector<std::string> flagged(const std::vector<RunSummary>& rows, std::string_view word) {
  std::vector<std::string> names;
  for (const RunSummary& row : rows)
    for (const std::string& flag : row.flags)
      if (flag.starts_with(word)) names.push_back(row.record.name);
  return names;
}

TEST(MeasuredTable, OfTheRecordedRunsHasExactlyTwoRowsWhoseNumbersDoNotFit) {
  EXPECT_THAT(
      flagged(recorded_table(), "flops:"),
      ElementsAre("llama3.1-8B bf16 tp4 pp2 cp1", "qwen2.5-14B fp8 tp2 pp2 cp1 none vpp 3"));
}

TEST(MeasuredTable, OfTheRecordedRunsHasOneRowWithTheMemoryOfALaterStage) {
  EXPECT_THAT(flagged(recorded_table(), "memory:"), ElementsAre("llama3.1-8B fp8 tp1 pp4 cp1 sel"));
}

TEST(MeasuredTable, KeepsEveryRowAndItsOutcome) {
  const auto rows = recorded_table();
  std::map<std::string, int> outcomes;
  for (const RunSummary& row : rows) ++outcomes[row.record.outcome];
  EXPECT_EQ(rows.size(), 83u);
  EXPECT_EQ(outcomes,
            (std::map<std::string, int>{{"error", 11}, {"not_run", 29}, {"ok", 30}, {"oom", 13}}));
}

TEST(MeasuredTable, ComputesMfuAndTokensOfARow) {
  const auto rows = recorded_table();
  const auto row = std::ranges::find(rows, "llama3.1-8B fp8 tp1 pp2 cp1 vpp 4",
                                     [](const auto& r) { return r.record.name; });
  ASSERT_NE(row, rows.end());
  EXPECT_NEAR(row->mfu.value(), 644.1 / 1978.9, 1e-9);
  EXPECT_NEAR(row->tokens_per_second_per_gpu.value(), 1024 * 8192 / 23.5705 / 32, 1e-6);
  EXPECT_EQ(row->record.activations, "none");
  EXPECT_EQ(row->record.virtual_stage_layers, 4);
}

TEST(MeasuredTable, ReadsQuotedCellsWithCommasQuotesAndLineBreaks) {
  const auto rows = parse_measured_table(
      "\xEF\xBB\xBFmodel,error,outcome\r\nx,\"a, \"\"b\"\"\nc\",error\r\n\r\ny,,ok");
  ASSERT_TRUE(rows);
  ASSERT_EQ(rows->size(), 2u);
  EXPECT_EQ(rows->at(0).record.cause, "a, \"b\"\nc");
  EXPECT_EQ(rows->at(0).record.outcome, "error");
  EXPECT_EQ(rows->at(1).record.model, "y");
}

TEST(MeasuredTable, ColumnsComeInAnyOrderAndCapitalsAndMayBeMissing) {
  const auto rows = parse_measured_table("TFLOPS, Model ,colour\n 400.5 ,llama3.1-8B,red\n");
  ASSERT_TRUE(rows);
  EXPECT_EQ(rows->at(0).tflops_per_gpu, 400.5);
  EXPECT_EQ(rows->at(0).record.gpus, std::nullopt);
}

TEST(MeasuredTable, ACellThatIsNoNumberIsAnErrorWithItsPlace) {
  const auto rows = parse_measured_table("model,error,tp\na,\"two\nlines\",1\nb,,fast\n");
  ASSERT_FALSE(rows);
  EXPECT_EQ(rows.error().message, "line 4: column 'tp': 'fast' is not a number");
  EXPECT_EQ(rows.error().kind, Error::Kind::kUsage);
}

TEST(MeasuredTable, WithoutAModelColumnOrAnyLineIsNoTable) {
  EXPECT_THAT(parse_measured_table("tp,pp\n1,2\n").error().message, HasSubstr("no column 'model'"));
  EXPECT_THAT(parse_measured_table("").error().message, HasSubstr("empty"));
}

TEST(MeasuredTable, AMissingFileIsNamed) {
  EXPECT_THAT(read_measured_table("/nonexistent.csv").error().message,
              HasSubstr("/nonexistent.csv"));
}

TEST(MeasuredTable, ReadsTheReportsOwnCsv) {
  const auto rows = recorded_table();
  auto again = parse_measured_table(report_csv(rows));
  ASSERT_TRUE(again) << again.error().message;
  for (RunSummary& row : *again) derive(row, {});
  EXPECT_EQ(report_json(*again), report_json(rows));
}

}  // namespace
}  // namespace megalaunch
