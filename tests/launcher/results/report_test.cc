#include "launcher/results/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "launcher/results/report_page.h"

namespace megalaunch {
namespace {

using nlohmann::ordered_json;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;

RunSummary full_row() {
  RunSummary row;
  row.record.name = "8b";
  row.record.model = "llama3.1-8B";
  row.record.precision = "fp8";
  row.record.gpus = 32;
  row.record.tp = 1;
  row.record.pp = 2;
  row.record.cp = 1;
  row.record.mbs = 1;
  row.record.gbs = 1024;
  row.record.seq = 8192;
  row.record.activations = "none";
  row.record.virtual_stage_layers = 4;
  row.record.outcome = "ok";
  row.tflops_per_gpu = 644.1;
  row.tflops_spread = 0.4;
  row.mfu = 0.325;
  row.tokens_per_second_per_gpu = 11122.0;
  row.ms_per_iteration = 23570.5;
  row.max_memory_mib = 72542;
  return row;
}

RunSummary failed_row() {
  RunSummary row;
  row.record.name = "a|b";
  row.record.outcome = "error";
  row.record.cause = "bad, \"quoted\"\nlines </script>";
  row.flags = {"flops: too many", "memory: too little"};
  return row;
}

/// The data in the page.
ordered_json page_data(const std::string& page) {
  const std::string start = "<script type=\"application/json\" id=\"data\">";
  const std::size_t from = page.find(start) + start.size();
  return ordered_json::parse(page.substr(from, page.find("</script>", from) - from));
}

TEST(ReportJson, HasTheseKeysInThisOrder) {
  const auto json = ordered_json::parse(report_json({full_row()}));
  std::vector<std::string> keys;
  for (const auto& [key, value] : json["runs"][0].items()) keys.push_back(key);
  EXPECT_THAT(keys, ElementsAre("name", "model", "precision", "gpus", "tp", "pp", "cp", "mbs",
                                "gbs", "seq", "activations", "virtual_stage_layers",
                                "tflops_per_gpu", "mfu", "tokens_per_second_per_gpu",
                                "ms_per_iteration", "max_memory_mib", "outcome", "cause", "flags"));
  EXPECT_EQ(json.size(), 1u);
  EXPECT_EQ(json["runs"][0]["tflops_per_gpu"], 644.1);
  EXPECT_EQ(json["runs"][0]["cause"], nullptr);
  EXPECT_EQ(json["runs"][0]["flags"], ordered_json::array());
}

TEST(ReportJson, UnknownIsNull) {
  const auto run = ordered_json::parse(report_json({failed_row()}))["runs"][0];
  for (const char* key :
       {"model", "precision", "gpus", "tp", "seq", "activations", "virtual_stage_layers", "mfu"})
    EXPECT_EQ(run[key], nullptr) << key;
  EXPECT_EQ(run["flags"].size(), 2u);
}

TEST(ReportJson, TextThatIsNotUtf8IsRepaired) {
  RunSummary row = full_row();
  row.record.cause = "\xff\xfe";
  EXPECT_TRUE(ordered_json::accept(report_json({row})));
}

TEST(ReportCsv, QuotesWhereItMust) {
  const std::string csv = report_csv({full_row(), failed_row()});
  EXPECT_THAT(csv, HasSubstr("\n8b,llama3.1-8B,fp8,32,1,2,1,1,1024,8192,none,4,644.1,0.325,11122."
                             "0,23570.5,72542.0,ok,,\n"));
  EXPECT_THAT(
      csv,
      EndsWith(
          "error,\"bad, \"\"quoted\"\"\nlines </script>\",flops: too many; memory: too little\n"));
}

TEST(ReportMarkdown, IsATableWithTheFlagsAsNotes) {
  const std::string text = report_markdown({full_row(), failed_row()}, {});
  EXPECT_THAT(text, HasSubstr("| 8b | llama3.1-8B | fp8 | 32 | 8192 | 1 | 2 | 1 | 1 | 1024 | none "
                              "| 4 | 644.1 ±0.4 | 32.5 | "
                              "11122 | 23570.5 | 72542 | ok |  |\n"));
  EXPECT_THAT(text, HasSubstr("| a\\|b |"));
  EXPECT_THAT(text, HasSubstr("| error: bad, \"quoted\" lines </script> | [1] [2] |\n"));
  EXPECT_THAT(text, HasSubstr("[2] a|b: memory: too little\n"));
}

TEST(ReportMarkdown, StatesTheCardAndThatItIsAssumed) {
  EXPECT_THAT(report_markdown({full_row()}, {}),
              HasSubstr("H100 (assumed: no card is named): bf16 989.4, fp8 1978.9"));
  EXPECT_THAT(report_markdown({full_row()}, {.card = find_card("A100")}),
              HasSubstr("A100: bf16 312.0, no fp8"));
  RunSummary row = full_row();
  row.record.card = "NVIDIA H200";
  EXPECT_THAT(report_markdown({row}, {}), HasSubstr("H200: bf16"));
}

TEST(ReportMarkdown, OfNoRunsSaysSo) {
  EXPECT_THAT(report_markdown({}, {}), HasSubstr("No runs."));
}

TEST(ReportHtml, HoldsTheRowsTheCurvesAndTheMemory) {
  RunSummary row = full_row();
  for (int i = 1; i <= 2500; ++i) {
    IterationSample sample;
    sample.iteration = i;
    sample.tflops_per_gpu = 640;
    sample.lm_loss = i == 4 ? std::numeric_limits<double>::quiet_NaN() : 2.0;
    row.measured.iterations.push_back({0, std::nullopt, sample});
  }
  row.measured.rank_memory_mib = {{0, 72542}, {16, 60000}};
  const auto data = page_data(report_html({row, failed_row()}, {}));
  ASSERT_EQ(data["runs"].size(), 2u);
  const auto& series = data["runs"][0]["series"];
  EXPECT_LE(series["iteration"].size(), 1000u);
  EXPECT_GE(series["iteration"].size(), 800u);
  EXPECT_EQ(series["loss"][1], nullptr);  // iteration 4 of every third
  EXPECT_EQ(data["runs"][0]["memory"], ordered_json::parse(R"([["0", 72542.0], ["16", 60000.0]])"));
  EXPECT_EQ(data["runs"][1]["cause"], failed_row().record.cause);
}

TEST(ReportHtml, LetsNoTextOfARunEndTheScript) {
  const std::string page = report_html({failed_row()}, {});
  EXPECT_THAT(page, Not(HasSubstr("lines </script>")));
}

TEST(ReportHtml, LoadsNothingFromElsewhere) {
  const std::string page(kReportPage);
  for (const char* loader : {"src=", "@import", "url(http", "fetch(", "XMLHttpRequest", "import(",
                             "<link rel=\"stylesheet\""})
    EXPECT_THAT(page, Not(HasSubstr(loader)));
  std::string without_namespace = page;
  const std::string svg = "http://www.w3.org/2000/svg";
  without_namespace.erase(without_namespace.find(svg), svg.size());
  EXPECT_THAT(without_namespace, Not(HasSubstr("http")));
}

}  // namespace
}  // namespace megalaunch
