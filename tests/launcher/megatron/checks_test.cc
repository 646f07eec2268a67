#include "launcher/megatron/checks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launcher/megatron/command.h"
#include "launcher/megatron/nearest.h"

namespace megalaunch {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

/// Qwen 2.5 14B on four nodes of eight in a good shape, with `sets` on top.
PlannedMegatron plan(const std::vector<std::string>& sets = {}) {
  const std::string text = R"(version: 1
output: /out
launch: {nodes: 4, ranks_per_node: 8, endpoint: "a:1"}
megatron:
  model: qwen2.5-14b
  precision: fp8
  parallel: {tp: 2, pp: 2}
  train: {tokens: 100000000000, warmup_tokens: 1000000000}
  data: {train: [/data/a]}
  load: /model
)";
  const auto loaded = parse_job(text, "a.yaml", Variables(), sets, "/start");
  EXPECT_TRUE(loaded.job) << (loaded.errors.empty() ? "" : loaded.errors.front().to_string());
  const auto planned = plan_launch(*loaded.job, Variables(), {});
  return plan_megatron(*loaded.job, *planned.plan, Variables(), WallTime());
}

std::vector<std::string> codes(const std::vector<std::string>& sets) {
  std::vector<std::string> found;
  const PlannedMegatron planned = plan(sets);
  for (const Check& check : planned.command.value().checks) found.push_back(check.code);
  return found;
}

std::string message(const std::string& code, const std::vector<std::string>& sets) {
  const PlannedMegatron planned = plan(sets);
  for (const Check& check : planned.command.value().checks)
    if (check.code == code) return check.message;
  return "no such check";
}

bool has(const MegatronCommand& command, const std::string& word) {
  return std::count(command.program_args.begin(), command.program_args.end(), word) > 0;
}

TEST(Checks, AGoodShapePasses) {
  EXPECT_THAT(codes({}), IsEmpty());
}

TEST(Checks, AllThatFailAreFoundAtOnce) {
  EXPECT_THAT(codes({"parallel.pp=5", "parallel.virtual_stage_layers=1", "optimizer.min_lr=1",
                     "data.type=raw", "data.valid=[/v]"}),
              ElementsAre("world-not-divisible-by-tp-pp-cp", "layers-not-divisible-by-pp",
                          "min-lr-over-lr", "raw-dataset-with-pretrain"));
}

TEST(Checks, AVirtualStageNamesTheNumbersThatDivide) {
  EXPECT_EQ(message("stage-layers-not-divisible-by-vp", {"parallel.virtual_stage_layers=5"}),
            "pp=2 with 5 layers per virtual stage: 24 layers per stage do not divide; use 1, 2, 3, "
            "4, 6, 8, 12 or none");
}

TEST(Checks, AGlobalBatchNamesItsNeighbours) {
  EXPECT_THAT(message("gbs-not-divisible-by-mbs-dp", {"batch.global=1001"}),
              HasSubstr("for batch.global use 1000 or 1008"));
}

TEST(Checks, SizesThatWouldBeLoweredAreRefusedInOwnModeAndAWarningWithAScript) {
  const std::vector<std::string> sets{"launch.nodes=1", "parallel.tp=4", "parallel.pp=4"};
  EXPECT_THAT(codes(sets), testing::Contains("parallel-size-clamped"));
  EXPECT_TRUE(has_errors(plan(sets).command->checks));
  auto with_script = sets;
  with_script.insert(with_script.end(), {"script=qwen2_5-upstream", "train.tokens=100000000000"});
  const auto checks = plan(with_script).command->checks;
  ASSERT_FALSE(checks.empty());
  EXPECT_EQ(checks.front().code, "parallel-size-clamped");
  EXPECT_EQ(checks.front().level, Check::Level::kWarning);
}

TEST(Checks, WeightsAndPrefixesMustAlternate) {
  EXPECT_THAT(codes({"data.train=[0.3, /a, 0.7, /b]"}), IsEmpty());
  EXPECT_THAT(codes({"data.train=[/a, /b]"}), IsEmpty());
  EXPECT_THAT(codes({"data.train=[0.3, /a, /b]"}), ElementsAre("data-weights-not-alternating"));
  EXPECT_THAT(codes({"data.train=[0.3, /a, 0.7]"}), ElementsAre("data-weights-not-alternating"));
}

TEST(Checks, TokenCountsThatGiveNoIterationSaySo) {
  EXPECT_THAT(message("warmup-not-below-decay", {"train.tokens=1000", "train.warmup_tokens=0"}),
              HasSubstr("there is no iteration at all"));
}

TEST(Checks, SizesBeyondAnyModelAreRefusedBeforeTheyOverflow) {
  for (const char* set : {"parallel.cp=9000000000000000000", "batch.global=9000000000000000000",
                          "batch.micro=2000000"}) {
    const auto loaded =
        parse_job("version: 1\nmegatron: {model: gpt}\n", "a.yaml", Variables(), {set}, "/start");
    ASSERT_EQ(loaded.errors.size(), 1u) << set;
    EXPECT_THAT(loaded.errors[0].message, HasSubstr("is too large; the most is")) << set;
  }
}

TEST(OwnMode, TakesVirtualStagesOnlyWhereTheyAreValid) {
  EXPECT_EQ(automatic_virtual_layers(48, 2, 128), 6);
  EXPECT_EQ(automatic_virtual_layers(80, 8, 64), 2);
  EXPECT_EQ(automatic_virtual_layers(28, 2, 64), 2) << "14 layers of a stage do not divide by 3";
  EXPECT_EQ(automatic_virtual_layers(48, 1, 128), std::nullopt);
  EXPECT_EQ(automatic_virtual_layers(48, 5, 100), std::nullopt);
  EXPECT_EQ(automatic_virtual_layers(48, 4, 6), std::nullopt) << "micro batches do not divide";
  EXPECT_EQ(automatic_virtual_layers(32, 32, 32), std::nullopt) << "one layer has no parts";
}

TEST(OwnMode, ValuesWithBlanksAndQuotesStayOneArgument) {
  const auto planned = plan({"data.train=[\"/data/a b;'c\"]"});
  EXPECT_TRUE(has(*planned.command, "/data/a b;'c"));
}

TEST(OwnMode, AnExtraArgumentIsLastAndMayNotContradict) {
  EXPECT_EQ(plan({"extra_args=[--seed, 7]"}).command->program_args.back(), "7");
  EXPECT_TRUE(plan({"extra_args=[--lr, 1e-5]"}).command)
      << "saying the same twice contradicts nothing";
  const auto planned = plan({"extra_args=[--lr, 3e-4]"});
  ASSERT_EQ(planned.errors.size(), 1u);
  EXPECT_THAT(planned.errors[0].message, HasSubstr("'--lr 3e-4' contradicts '--lr 1e-5'"));
  EXPECT_FALSE(plan({"extra_args=[--lr=3e-4]"}).command);
  EXPECT_FALSE(plan({"extra_args=[--fp16]"}).command);
}

TEST(OwnMode, TheRunNameChangesWithEverySettingThatMatters) {
  const std::string name = plan().command->training.run_name;
  for (const char* set :
       {"parallel.virtual_stage_layers=3", "launch.nodes=8", "flash_attention=false",
        "data.train=[/b]", "load=/other", "optimizer.offload=static", "extra_args=[--seed, 7]",
        "batch.padding_length=128"})
    EXPECT_NE(plan({set}).command->training.run_name, name) << set;
  EXPECT_EQ(plan({"save_interval=7"}).command->training.run_name, name);
}

TEST(OwnMode, ResumesWithTheOptimizerWhenItWasSaved) {
  const auto planned = plan();
  const Training& training = planned.command->training;
  const auto first = program_arguments(training, std::nullopt);
  const auto second = program_arguments(training, ResumeFrom{true});
  EXPECT_THAT(first, testing::IsSupersetOf({"--no-load-optim", "/model"}));
  EXPECT_THAT(second, testing::Not(testing::Contains("--no-load-optim")));
  EXPECT_EQ(*(std::find(second.begin(), second.end(), "--load") + 1), training.checkpoint_dir);
  EXPECT_THAT(program_arguments(training, ResumeFrom{false}), testing::Contains("--no-load-optim"));
}

TEST(Presets, KnowTheirParameterCounts) {
  EXPECT_EQ(find_preset("llama3.1-8b", "/")->parameters(), 8030261248);
  EXPECT_EQ(find_preset("qwen2.5-0.5b", "/")->parameters(), 494032768);
  EXPECT_THAT(find_preset("qwen2.5-13b", "/").error().message, HasSubstr("there are llama3.1-8b"));
}

TEST(Presets, OfOnesOwnAreReadWithPlaces) {
  EXPECT_THAT(parse_preset("name: a\nfamily: llama3.1\nlayers: 0\n", "a.yaml").error().message,
              HasSubstr("a.yaml:3:9: layers: 0 is"));
  EXPECT_THAT(parse_preset("name: a\nname: b\n", "a.yaml").error().message,
              HasSubstr("duplicate key"));
}

TEST(Nearest, ListsReadLikeSentences) {
  EXPECT_EQ(use_one_of({1, 2, 4}), "use 1, 2 or 4");
  EXPECT_EQ(use_one_of({3}, "none"), "use 3 or none");
  EXPECT_THAT(divisors(24), ElementsAre(1, 2, 3, 4, 6, 8, 12, 24));
  EXPECT_THAT(nearest_multiples(1001, 8), ElementsAre(1000, 1008));
  EXPECT_THAT(nearest_multiples(5, 8), ElementsAre(8));
}

}  // namespace
}  // namespace megalaunch
