#include "launcher/job/job.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launcher/job/section.h"
#include "tests/lib/temp_dir.h"

namespace megalaunch {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

LoadedJob parse(const std::string& text, const std::vector<std::string>& sets = {},
                const Variables& environment = {}) {
  return parse_job(text, "a.yaml", environment, sets, "/start");
}

std::vector<std::string> errors(const std::string& text, const std::vector<std::string>& sets = {},
                                const Variables& environment = {}) {
  std::vector<std::string> lines;
  for (const JobError& error : parse(text, sets, environment).errors)
    lines.push_back(error.to_string());
  return lines;
}

Job good(const std::string& text, const std::vector<std::string>& sets = {},
         const Variables& environment = {}) {
  auto loaded = parse(text, sets, environment);
  EXPECT_TRUE(loaded.job) << (loaded.errors.empty() ? "" : loaded.errors.front().to_string());
  return loaded.job.value_or(Job{});
}

const std::string kMinimal = "version: 1\ncommand: [python3, train.py]\n";

TEST(JobFile, TheSmallestJobHasTheDocumentedDefaults) {
  const Job job = good(kMinimal);
  EXPECT_EQ(job.name, "a");
  EXPECT_EQ(job.platform, PlatformKind::kAuto);
  EXPECT_EQ(job.workdir, "/start");
  EXPECT_THAT(job.command, ElementsAre("python3", "train.py"));
  EXPECT_EQ(job.restart.max, 3);
  EXPECT_EQ(job.restart.backoff, 5s);
  EXPECT_EQ(job.restart.grace, 30s);
  EXPECT_EQ(job.restart.stopped, 30s);
  EXPECT_EQ(job.restart.causes, std::nullopt);
  EXPECT_EQ(job.launch.nodes, std::nullopt);
  EXPECT_EQ(job.logs.console, Job::Logs::Console::kAll);
}

TEST(JobFile, EveryKeyIsRead) {
  const Job job = good(R"(version: 1
name: example
platform: tianqing
workdir: /mnt/project
output: out
env: {NCCL_DEBUG: WARN, STEPS: 007, EMPTY: }
launch: {nodes: 2, ranks_per_node: 8, endpoint: "head:29500", join_timeout: 2m, heartbeat_timeout: 20s, key_file: key}
command: [python3, train.py, --lr, 1e-5, --flag, "a b"]
prepare:
  - {run: [mc, cp, a, b], on: each, timeout: 2h}
  - run: [true]
restart: {max: 5, backoff: 500ms, grace: 10s, per_kind: {network: 9, data: 0}, stopped: 2m,
          causes: causes.yaml}
logs: {dir: mylogs, console: {ranks: [0, -1]}}
)");
  EXPECT_EQ(job.name, "example");
  EXPECT_EQ(job.platform, PlatformKind::kTianqing);
  EXPECT_EQ(job.workdir, "/mnt/project");
  EXPECT_EQ(job.output, "out");
  EXPECT_EQ(job.env.at("NCCL_DEBUG"), "WARN");
  EXPECT_EQ(job.env.at("STEPS"), "007");
  EXPECT_EQ(job.env.at("EMPTY"), "");
  EXPECT_EQ(job.launch.nodes, 2);
  EXPECT_EQ(job.launch.ranks_per_node, 8);
  EXPECT_EQ(job.launch.endpoint, "head:29500");
  EXPECT_EQ(job.launch.join_timeout, 120s);
  EXPECT_EQ(job.launch.heartbeat_timeout, 20s);
  EXPECT_EQ(job.launch.key_file, "key");
  EXPECT_THAT(job.command, ElementsAre("python3", "train.py", "--lr", "1e-5", "--flag", "a b"));
  ASSERT_EQ(job.prepare.size(), 2u);
  EXPECT_EQ(job.prepare[0].on, PrepareStep::On::kEach);
  EXPECT_EQ(job.prepare[0].timeout, 2h);
  EXPECT_EQ(job.prepare[1].on, PrepareStep::On::kFirst);
  EXPECT_THAT(job.prepare[1].run, ElementsAre("true"));
  EXPECT_EQ(job.restart.max, 5);
  EXPECT_EQ(job.restart.backoff, 500ms);
  EXPECT_EQ(job.restart.stopped, 2min);
  EXPECT_EQ(job.restart.causes, "causes.yaml");
  EXPECT_EQ(job.restart.per_kind, (std::map<std::string, int>{{"network", 9}, {"data", 0}}));
  EXPECT_EQ(job.logs.dir, "mylogs");
  EXPECT_EQ(job.logs.console, Job::Logs::Console::kRanks);
  EXPECT_THAT(job.logs.ranks, ElementsAre(0, -1));
}

TEST(JobFile, AnUnknownKeyIsAnErrorWithItsPlaceAndASuggestion) {
  EXPECT_THAT(errors(kMinimal + "launch:\n  nodse: 2\n"),
              ElementsAre("a.yaml:4:3: launch.nodse: unknown key 'nodse'; did you mean 'nodes'?"));
  EXPECT_THAT(errors(kMinimal + "zzzzzz: 2\n"),
              ElementsAre(HasSubstr("a.yaml:3:1: unknown key 'zzzzzz'; known here: version")));
}

TEST(JobFile, ADuplicateKeyIsAnErrorThatNamesTheFirst) {
  EXPECT_THAT(errors(kMinimal + "name: a\nname: b\n"),
              ElementsAre("a.yaml:4:1: duplicate key 'name': the first is in line 3"));
}

TEST(JobFile, AllErrorsAreFoundAtOnce) {
  EXPECT_THAT(
      errors(
          "command: [a]\nrestart: {max: -1, grace: soon}\nplatform: moon\nlogs: {console: loud}\n"),
      ElementsAre(HasSubstr("add the line 'version: 1'"),
                  HasSubstr("'moon' is none of auto, tianqing"),
                  HasSubstr("restart.max: -1 is too small"),
                  HasSubstr("restart.grace: 'soon' is not a time"),
                  HasSubstr("logs.console: 'loud' is none of all, errors, collapsed, none")));
}

TEST(JobFile, LogsMayHaveACapAndNode0MayShowOthersRanks) {
  const Job job = good(kMinimal +
                       "logs: {max_size: 1GiB, keep: 5, node_0_shows: [8, -1], console: "
                       "collapsed}\n");
  EXPECT_EQ(job.logs.max_size, 1U << 30);
  EXPECT_EQ(job.logs.keep, 5);
  EXPECT_EQ(job.logs.console, Job::Logs::Console::kCollapsed);
  EXPECT_THAT(job.logs.node_0_shows, ElementsAre(8, -1));
  EXPECT_EQ(good(kMinimal).logs.max_size, 0U);
}

TEST(JobFile, ACapThatMakesNoSenseIsAnError) {
  EXPECT_THAT(errors(kMinimal + "logs: {max_size: 10}\n"),
              ElementsAre(HasSubstr("logs.max_size: '10' is not a size")));
  EXPECT_THAT(errors(kMinimal + "logs: {max_size: 64KiB}\n"),
              ElementsAre(HasSubstr("1MiB at least")));
  EXPECT_THAT(errors(kMinimal + "logs: {keep: 2}\n"),
              ElementsAre(HasSubstr("says nothing without 'max_size'")));
  EXPECT_THAT(errors(kMinimal + "logs: {node_0_shows: [x]}\n"),
              ElementsAre(HasSubstr("'x' is not a rank")));
}

TEST(ParseSize, ReadsBinaryAndDecimalUnits) {
  EXPECT_EQ(parse_size("64KiB"), 65536U);
  EXPECT_EQ(parse_size("500MB"), 500'000'000U);
  EXPECT_EQ(parse_size("2TiB"), 2ULL << 40);
  for (const char* bad : {"", "5", "5G", "GiB", "-1GiB", "1.5GiB", "1 GiB", "99999999TiB"})
    EXPECT_EQ(parse_size(bad), std::nullopt) << bad;
}

TEST(JobFile, ACommandAsTextSaysToWriteAList) {
  EXPECT_THAT(errors("version: 1\ncommand: python3 train.py\n"),
              ElementsAre(HasSubstr(
                  "a.yaml:2:10: command: expected a list, got text; no shell splits it")));
}

TEST(JobFile, AJobRunsExactlyOneThing) {
  EXPECT_THAT(errors("version: 1\n"), ElementsAre(HasSubstr("nothing to run")));
  EXPECT_THAT(errors("version: 1\ncommand: []\n"),
              ElementsAre(HasSubstr("the first item must be a program")));
}

TEST(JobFile, WrongTypesAreErrors) {
  EXPECT_THAT(errors(kMinimal + "launch: [1]\n"), ElementsAre(HasSubstr("launch: expected a map")));
  EXPECT_THAT(errors(kMinimal + "launch: {nodes: two}\n"),
              ElementsAre(HasSubstr("launch.nodes: 'two' is not a whole number")));
  EXPECT_THAT(errors(kMinimal + "launch: {ranks_per_node: 0}\n"),
              ElementsAre(HasSubstr("launch.ranks_per_node: 0 is not between 1")));
  EXPECT_THAT(errors(kMinimal + "launch: {endpoint: head}\n"),
              ElementsAre(HasSubstr("'head' is not host:port")));
  EXPECT_THAT(errors(kMinimal + "env: [A]\n"), ElementsAre(HasSubstr("env: expected a map")));
  EXPECT_THAT(errors(kMinimal + "name: [a]\n"),
              ElementsAre(HasSubstr("name: expected text, got a list")));
  EXPECT_THAT(errors(kMinimal + "prepare: {run: [a]}\n"),
              ElementsAre(HasSubstr("prepare: expected a list of steps")));
  EXPECT_THAT(errors(kMinimal + "prepare: [{on: first}]\n"),
              ElementsAre(HasSubstr("prepare.0.run: missing")));
  EXPECT_THAT(errors("version: 2\ncommand: [a]\n"),
              ElementsAre(HasSubstr("version 2 is not known")));
  EXPECT_THAT(errors("[a, b]"), Not(IsEmpty()));
  EXPECT_THAT(errors(""), Not(IsEmpty()));
}

TEST(JobFile, AVariableInsideBracketsNeedsQuotesAndTheErrorSaysSo) {
  EXPECT_THAT(errors("version: 1\ncommand: [a, ${OUT}/x]\n").front(),
              HasSubstr("put it in quotes"));
}

TEST(JobFile, TextThatIsNotYamlIsAnErrorWithItsPlace) {
  EXPECT_THAT(errors("version: 1\ncommand: [a\nname: b\n").front(), HasSubstr("this is not YAML"));
  EXPECT_THAT(errors("version: 1\ncommand: [a]\nname: *b\n").front(), HasSubstr("a.yaml:3:7: "));
}

TEST(JobFile, VariablesAreInsertedIntoValues) {
  const Variables environment({{"OUT", "/data/out"}, {"EMPTY", ""}});
  const std::string text =
      "version: 1\ncommand: [a, '${OUT}/x', '${NONE:-d}', '${EMPTY:-e}', '${EMPTY}', '$${OUT}', "
      "$OUT]\n";
  EXPECT_THAT(good(text + "output: ${OUT}/job\n", {}, environment).command,
              ElementsAre("a", "/data/out/x", "d", "e", "", "${OUT}", "$OUT"));
  EXPECT_EQ(good(text + "output: ${OUT}/job\n", {}, environment).output, "/data/out/job");
  EXPECT_EQ(good(text + "output: ${NONE:-}\n", {}, environment).output, std::nullopt);
}

TEST(JobFile, AnInsertedVariableIsAValueAndNeverStructure) {
  Variables environment;
  environment.set("X", "], b: [");
  EXPECT_THAT(good("version: 1\ncommand: [a, '${X}']\n", {}, environment).command,
              ElementsAre("a", "], b: ["));
}

TEST(JobFile, AMissingVariableIsNamedWithItsPlace) {
  EXPECT_THAT(
      errors(kMinimal + "output: ${OUTPUT_DIR}\n"),
      ElementsAre(HasSubstr("a.yaml:3:9: output: the environment variable OUTPUT_DIR is not set")));
  EXPECT_THAT(errors(kMinimal + "output: ${A b}\n"),
              ElementsAre(HasSubstr("'${A b}' is not of the form")));
  EXPECT_THAT(errors(kMinimal + "output: ${A\n"), ElementsAre(HasSubstr("'${' without its '}'")));
}

TEST(JobFile, SetReplacesValuesAndMakesMaps) {
  const Job job = good(kMinimal + "launch: {nodes: 2}\n",
                       {"launch.nodes=4", "restart.max=0", "command=[b, c]", "env.A=1=2",
                        "prepare=[{run: [x]}]", "prepare.0.on=each"});
  EXPECT_EQ(job.launch.nodes, 4);
  EXPECT_EQ(job.restart.max, 0);
  EXPECT_THAT(job.command, ElementsAre("b", "c"));
  EXPECT_EQ(job.env.at("A"), "1=2");
  EXPECT_EQ(job.prepare.at(0).on, PrepareStep::On::kEach);
}

TEST(JobFile, ErrorsOfSetNameTheFlag) {
  EXPECT_THAT(errors(kMinimal, {"launch.nodes=x"}),
              ElementsAre("--set launch.nodes=x: 'x' is not a whole number"));
  EXPECT_THAT(
      errors(kMinimal, {"lunch.nodes=1"}),
      ElementsAre(HasSubstr("--set lunch.nodes=1: unknown key 'lunch'; did you mean 'launch'?")));
  EXPECT_THAT(errors(kMinimal, {"nodes"}),
              ElementsAre("--set nodes: expected KEY=VALUE, such as batch.global=512"));
  EXPECT_THAT(errors(kMinimal, {"version.a=1"}),
              ElementsAre(HasSubstr("--set version.a=1: there is no 'a' to set")));
}

TEST(JobFile, AFileThatCannotBeReadSaysWhy) {
  EXPECT_THAT(load_job("/no/such.yaml", {}, {}).errors.front().to_string(),
              "/no/such.yaml: cannot read the job file: No such file or directory");
  TempDir dir;
  EXPECT_THAT(load_job(dir.path(), {}, {}).errors.front().to_string(),
              HasSubstr("it is a directory"));
  const auto path = dir.write("job.yaml", kMinimal);
  EXPECT_TRUE(load_job(path, {}, {}).job);
}

}  // namespace
}  // namespace megalaunch
