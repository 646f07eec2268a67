#include "launcher/torchrun/arguments.h"

#include <gmock/gmock.h>

namespace megalaunch {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const ArgumentSpec kSpecs[] = {
    {"nproc-per-node", 0, ArgumentSpec::Takes::kText, "1", {}, true, "N", "ranks"},
    {"nnodes", 0, ArgumentSpec::Takes::kText, "1:1", {}, true, "N", "nodes"},
    {"max-restarts", 0, ArgumentSpec::Takes::kInteger, "0", {}, true, "N", "restarts"},
    {"interval", 0, ArgumentSpec::Takes::kNumber, "0.1", {}, true, "S", "seconds"},
    {"method", 0, ArgumentSpec::Takes::kText, "spawn", {"spawn", "fork"}, true, "M", "method"},
    {"module", 'm', ArgumentSpec::Takes::kNothing, "", {}, true, "", "module"},
    {"redirects", 'r', ArgumentSpec::Takes::kText, "0", {}, true, "N", "redirects"},
    {"private", 0, ArgumentSpec::Takes::kText, "", {}, false, "X", "no variable"},
};

Result<ParsedArguments> parse(std::vector<std::string> args,
                              std::map<std::string, std::string> environment = {}) {
  return parse_arguments(kSpecs, args, Variables(std::move(environment)));
}

std::string error_of(std::vector<std::string> args,
                     std::map<std::string, std::string> environment = {}) {
  const auto parsed = parse(std::move(args), std::move(environment));
  if (parsed) return "";
  EXPECT_EQ(parsed.error().kind, Error::Kind::kUsage);
  return parsed.error().message;
}

TEST(Arguments, OptionsEndAtTheScriptAndTheRestIsTheScripts) {
  const auto parsed = parse({"--nnodes", "2", "train.py", "--nnodes", "3", "-x", "--"});
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->text("nnodes"), "2");
  EXPECT_EQ(parsed->script, "train.py");
  EXPECT_THAT(parsed->script_args, ElementsAre("--nnodes", "3", "-x", "--"));
}

TEST(Arguments, BothSpellingsAndTheEqualsSignMeanTheSame) {
  for (const char* spelled : {"--nproc-per-node=4", "--nproc_per_node=4"})
    EXPECT_EQ(parse({spelled, "s"})->text("nproc-per-node"), "4") << spelled;
  EXPECT_EQ(parse({"--nproc_per_node", "4", "s"})->text("nproc-per-node"), "4");
}

TEST(Arguments, AnUnambiguousBeginningOfANameIsEnough) {
  EXPECT_EQ(parse({"--np", "4", "s"})->text("nproc-per-node"), "4");
  EXPECT_EQ(parse({"--max_", "4", "s"})->text("max-restarts"), "4");
  EXPECT_THAT(error_of({"--m", "4", "s"}),
              HasSubstr("--m could match --max-restarts, --method, --module"));
}

TEST(Arguments, AWholeNameThatBeginsAnotherIsNotAmbiguous) {
  const ArgumentSpec specs[] = {{"tee", 't', ArgumentSpec::Takes::kText, "0", {}, true, "", ""},
                                {"tee-more", 0, ArgumentSpec::Takes::kText, "0", {}, true, "", ""}};
  EXPECT_EQ(parse_arguments(specs, {"--tee", "3", "s"}, Variables())->text("tee"), "3");
}

TEST(Arguments, LettersTakeTheirValueBehindThemOrAttached) {
  EXPECT_EQ(parse({"-r", "3", "s"})->text("redirects"), "3");
  EXPECT_EQ(parse({"-r3", "s"})->text("redirects"), "3");
  EXPECT_EQ(parse({"-r=3", "s"})->text("redirects"), "3");
  const auto both = parse({"-mr3", "s"});
  EXPECT_TRUE(both->flag("module"));
  EXPECT_EQ(both->text("redirects"), "3");
}

TEST(Arguments, ANegativeNumberIsAValueAndAnOptionIsNone) {
  EXPECT_EQ(parse({"--max-restarts", "-1", "s"})->integer("max-restarts"), -1);
  EXPECT_THAT(error_of({"--nnodes", "--module", "s"}),
              HasSubstr("--nnodes: expected one argument"));
  EXPECT_THAT(error_of({"--nnodes"}), HasSubstr("expected one argument"));
}

TEST(Arguments, ADashDashBeforeTheScriptIsSkippedAndOneRightBehindItVanishes) {
  EXPECT_EQ(parse({"--", "s", "a"})->script, "s");
  EXPECT_THAT(parse({"s", "--", "a", "--"})->script_args, ElementsAre("a", "--"));
}

TEST(Arguments, TheEnvironmentStandsInAndTheCommandLineWins) {
  EXPECT_EQ(parse({"s"}, {{"PET_NPROC_PER_NODE", "8"}})->text("nproc-per-node"), "8");
  EXPECT_EQ(
      parse({"--nproc-per-node", "2", "s"}, {{"PET_NPROC_PER_NODE", "8"}})->text("nproc-per-node"),
      "2");
  EXPECT_TRUE(parse({"s"}, {{"PET_MODULE", "2"}})->flag("module"));
  EXPECT_FALSE(parse({"s"}, {{"PET_MODULE", "0"}})->flag("module"));
  EXPECT_EQ(parse({"s"}, {{"PET_PRIVATE", "x"}})->text("private"), "");
}

TEST(Arguments, OnlyWhatSomebodyAskedForCountsAsGiven) {
  const auto parsed = parse({"--nnodes", "2", "s"}, {{"PET_REDIRECTS", "0"}});
  EXPECT_TRUE(parsed->given.contains("nnodes"));
  EXPECT_TRUE(parsed->given.contains("redirects"));
  EXPECT_FALSE(parsed->given.contains("max-restarts"));
}

TEST(Arguments, ErrorsNameTheOptionTheValueAndTheVariable) {
  EXPECT_THAT(error_of({"--max-restarts", "x", "s"}),
              HasSubstr("--max-restarts: 'x' is not a whole number"));
  EXPECT_THAT(error_of({"s"}, {{"PET_MAX_RESTARTS", "x"}}),
              HasSubstr("'x' (from PET_MAX_RESTARTS)"));
  EXPECT_THAT(error_of({"--interval", "x", "s"}), HasSubstr("--interval: 'x' is not a number"));
  EXPECT_THAT(error_of({"--method", "thread", "s"}), HasSubstr("choose from spawn, fork"));
  EXPECT_THAT(error_of({"--module=1", "s"}),
              HasSubstr("-m/--module: ignored explicit argument '1'"));
  EXPECT_THAT(error_of({"--nowhere", "s"}), HasSubstr("unrecognized arguments: --nowhere"));
  EXPECT_THAT(error_of({"-x", "s"}), HasSubstr("unrecognized arguments: -x"));
  EXPECT_THAT(error_of({"--nnodes", "2"}), HasSubstr("the script is missing"));
}

TEST(Arguments, HelpNeedsNoScript) {
  for (const char* spelled : {"-h", "--help", "--he"})
    EXPECT_EQ(parse({spelled})->question, "help") << spelled;
  EXPECT_EQ(parse({"s", "--help"})->question, "");
}

TEST(Arguments, WholeNumbersAreReadAsPythonReadsThem) {
  EXPECT_EQ(python_integer(" 8 "), 8);
  EXPECT_EQ(python_integer("+1_000"), 1000);
  EXPECT_EQ(python_integer("-3"), -3);
  for (const char* text :
       {"", " ", "x", "1.0", "1__0", "_1", "1_", "--1", "+-1", "0x10", "99999999999999999999"})
    EXPECT_EQ(python_integer(text), std::nullopt) << text;
}

}  // namespace
}  // namespace megalaunch
