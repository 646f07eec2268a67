#include "launcher/torchrun/rank_setup.h"

#include <gmock/gmock.h>

#include "tests/lib/temp_dir.h"

namespace megalaunch {
namespace {

using testing::HasSubstr;

/// What the hooks make of one rank of a command line.
struct Made {
  RankSpec spec;
  Variables variables;
  LogPump::Source out, err;
  RunFolder folder;
};

Made rank_of(const TempDir& dir, std::vector<std::string> args, int local_rank,
             std::map<std::string, std::string> inherited = {}) {
  args.insert(args.begin(), {"--log-dir", dir.path().string()});
  const auto options = std::get<TorchrunOptions>(*parse_torchrun_options(args, Variables()));
  auto folder = RunFolder::make(options.log_dir, "id", "/", Variables()).value();
  const RankHooks hooks = rank_hooks(options, folder, {});
  const RankFiles files = hooks.files(0, local_rank).value();
  Made made{{}, Variables(std::move(inherited)), {}, {}, folder};
  made.spec.local_rank = local_rank;
  made.spec.rank = 8 + local_rank;
  made.spec.stdout_path = files.stdout_log();
  made.spec.stderr_path = files.stderr_log();
  made.spec.process.argv = {"python", "-u", options.script};
  for (const auto& arg : options.script_args) made.spec.process.argv.push_back(arg);
  RankPlace place;
  place.local_rank = local_rank;
  EXPECT_TRUE(hooks.adjust(place, made.variables, made.spec));
  made.err.stream = Console::Stream::kErr;
  hooks.adjust_source(made.spec, made.out);
  hooks.adjust_source(made.spec, made.err);
  return made;
}

TEST(RankSetup, WithoutRedirectAndTeeStreamsGoStraightThrough) {
  const TempDir dir;
  const Made made = rank_of(dir, {"s"}, 0);
  EXPECT_EQ(made.spec.stdout_path, "");
  EXPECT_EQ(made.spec.stderr_path, "");
  EXPECT_TRUE(made.spec.inherit_stdin);
}

TEST(RankSetup, RedirectGoesToTheFileAndTeeToTheConsoleToo) {
  const TempDir dir;
  const Made made = rank_of(dir, {"-r", "1", "-t", "2", "s"}, 3);
  EXPECT_EQ(made.spec.stdout_path, made.folder.path() / "attempt_0/3/stdout.log");
  EXPECT_EQ(made.spec.stderr_path, made.folder.path() / "attempt_0/3/stderr.log");
  EXPECT_FALSE(made.out.on_console);
  EXPECT_TRUE(made.err.on_console);
  EXPECT_EQ(made.err.prefix, "[default3]:");
}

TEST(RankSetup, AFilteredRankLosesTheConsoleButNotItsFiles) {
  const TempDir dir;
  const Made made = rank_of(dir, {"-t", "1", "--local-ranks-filter", "0", "s"}, 1);
  EXPECT_FALSE(made.out.on_console);
  EXPECT_EQ(made.spec.stdout_path.filename(), "stdout.log");
  EXPECT_EQ(made.spec.stderr_path, "/dev/null");
}

TEST(RankSetup, PrefixesKnowRoleAndRanks) {
  const TempDir dir;
  const Made made = rank_of(
      dir,
      {"--role", "t", "--log-line-prefix-template", "${role_name}/${rank}/${local_rank}: ", "s"},
      2);
  EXPECT_EQ(made.out.prefix, "t/10/2: ");
  EXPECT_EQ(made.variables.get("ROLE_NAME"), "t");
}

TEST(RankSetup, LocalRankIsFilledIntoAllButTheProgram) {
  const TempDir dir;
  const Made made = rank_of(dir, {"${local_rank}.py", "--gpu=${local_rank}"}, 2);
  EXPECT_EQ(made.spec.process.argv, (std::vector<std::string>{"python", "-u", "2.py", "--gpu=2"}));
}

TEST(RankSetup, AVirtualLocalRankSeesOneDevice) {
  const TempDir dir;
  const Made made =
      rank_of(dir, {"--virtual-local-rank", "s"}, 1, {{"CUDA_VISIBLE_DEVICES", "5, 7"}});
  EXPECT_EQ(made.variables.get("CUDA_VISIBLE_DEVICES"), "7");
  EXPECT_EQ(made.variables.get("LOCAL_RANK"), "0");
  EXPECT_EQ(device_of_rank(std::nullopt, 3), "3");
  EXPECT_THAT(device_of_rank("5", 1).error().message, HasSubstr("CUDA_VISIBLE_DEVICES=5"));
}

TEST(RankSetup, FilteredLinesOfTeedRanksGoToOneFile) {
  const TempDir dir;
  const Made made = rank_of(dir, {"-t", "1", "--duplicate-stdout-filters", "loss,error", "s"}, 0);
  ASSERT_TRUE(made.out.also);
  made.out.also("loss 3\n");
  made.out.also("nothing\n");
  made.out.also("an error");
  EXPECT_EQ(read_file(made.folder.path() / "attempt_0/filtered_stdout.log"),
            "[default0]:loss 3\n[default0]:an error\n");
  EXPECT_FALSE(made.err.also);
}

}  // namespace
}  // namespace megalaunch
