#include "launcher/torchrun/options.h"

#include <gmock/gmock.h>
#include <signal.h>

#include "launcher/torchrun/option_table.h"

namespace megalaunch {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TorchrunOptions options_of(std::vector<std::string> args,
                           std::map<std::string, std::string> environment = {}) {
  auto parsed = parse_torchrun_options(args, Variables(std::move(environment)));
  EXPECT_TRUE(parsed) << parsed.error().message;
  return parsed ? std::get<TorchrunOptions>(*std::move(parsed)) : TorchrunOptions();
}

std::string error_of(std::vector<std::string> args,
                     std::map<std::string, std::string> environment = {}) {
  const auto parsed = parse_torchrun_options(args, Variables(std::move(environment)));
  return parsed ? "" : parsed.error().message;
}

std::string answer_to(const std::vector<std::string>& args) {
  return std::get<TorchrunAnswer>(parse_torchrun_options(args, Variables()).value()).text;
}

TEST(TorchrunOptions, AScriptAloneRunsOnceOnAFreePort) {
  const auto options = options_of({"train.py", "--lr", "1"});
  EXPECT_TRUE(options.alone);
  EXPECT_EQ(options.endpoint, (Endpoint{"localhost", 0}));
  EXPECT_EQ(options.id, "");
  EXPECT_EQ(options.ranks_per_node, "1");
  EXPECT_EQ(options.max_restarts, 0);
  EXPECT_EQ(options.shutdown_timeout, seconds(30));
  EXPECT_EQ(options.role, "default");
  EXPECT_THAT(options.signals, ElementsAre(SIGTERM, SIGINT, SIGHUP, SIGQUIT));
  EXPECT_THAT(options.script_args, ElementsAre("--lr", "1"));
  EXPECT_EQ(options.line_prefix, "[${role_name}${local_rank}]:");
}

TEST(TorchrunOptions, AMasterPortOrAnEndpointKeepsTheStaticBackEndOnOneNode) {
  const auto by_port = options_of({"--master-port", "29500", "s"});
  EXPECT_FALSE(by_port.alone);
  EXPECT_TRUE(by_port.is_static);
  EXPECT_EQ(by_port.endpoint, (Endpoint{"127.0.0.1", 29500}));
  EXPECT_EQ(by_port.id, "none");
  EXPECT_EQ(by_port.node_rank, 0);
  EXPECT_FALSE(options_of({"s"}, {{"PET_MASTER_PORT", "29501"}}).alone);
  EXPECT_EQ(options_of({"--rdzv-endpoint", "h:1", "s"}).endpoint, (Endpoint{"h", 1}));
}

TEST(TorchrunOptions, TheScriptsOfTheClusterAreUnderstood) {
  const auto options = options_of({"--nproc_per_node", "8", "--nnodes", "4", "--rdzv_id=333",
                                   "--rdzv_backend=c10d", "--rdzv_endpoint", "job-master-0:24651",
                                   "--tee", "3", "--log_dir", "/out/logs/x", "p.py", "a"});
  EXPECT_FALSE(options.is_static);
  EXPECT_EQ(options.max_nodes, 4);
  EXPECT_EQ(options.min_nodes, 4);
  EXPECT_EQ(options.id, "333");
  EXPECT_EQ(options.endpoint, (Endpoint{"job-master-0", 24651}));
  EXPECT_EQ(options.node_rank, std::nullopt);
  EXPECT_EQ(options.log_dir, "/out/logs/x");
  EXPECT_TRUE(options.tee.out(7) && options.tee.err(7));
}

TEST(TorchrunOptions, TheUpstreamScriptsAreUnderstood) {
  const auto options = options_of({"--nproc_per_node", "8", "--nnodes", "2", "--node_rank", "1",
                                   "--master_addr", "m", "--master_port", "1234", "p.py"});
  EXPECT_TRUE(options.is_static);
  EXPECT_EQ(options.node_rank, 1);
  EXPECT_EQ(options.endpoint, (Endpoint{"m", 1234}));
}

TEST(TorchrunOptions, ANodeRankCountsWithC10dOnlyWhenItIsGiven) {
  const std::vector<std::string> c10d{"--nnodes=2", "--rdzv-backend=c10d", "--rdzv-endpoint=h"};
  auto with_rank = c10d;
  with_rank.insert(with_rank.end(), {"--node-rank", "1", "s"});
  EXPECT_EQ(options_of(with_rank).node_rank, 1);
  auto without = c10d;
  without.push_back("s");
  EXPECT_EQ(options_of(without).node_rank, std::nullopt);
  EXPECT_EQ(options_of(without).endpoint.port, 29400);
  EXPECT_EQ(options_of(without, {{"PET_NODE_RANK", "1"}}).node_rank, 1);
}

TEST(TorchrunOptions, WhatMakesNoSenseHereIsRefusedWithTheReason) {
  EXPECT_THAT(error_of({"--nnodes=2", "--rdzv-backend=etcd", "--rdzv-endpoint=h:1", "s"}),
              HasSubstr("megalaunch needs no etcd"));
  EXPECT_THAT(error_of({"--logs-specs", "x", "s"}), HasSubstr("Python plug-in"));
  EXPECT_THAT(error_of({"--rdzv-backend=zeus", "--rdzv-endpoint=h:1", "s"}),
              HasSubstr("'zeus' is not known"));
}

TEST(TorchrunOptions, BadValuesAreRefusedByName) {
  EXPECT_THAT(error_of({"--nnodes", "3:2", "s"}), HasSubstr("0 < MIN <= MAX"));
  EXPECT_THAT(error_of({"--nnodes", "1:2:3", "s"}), HasSubstr("neither a number nor MIN:MAX"));
  EXPECT_THAT(error_of({"--max-restarts", "-1", "s"}), HasSubstr("--max-restarts"));
  EXPECT_THAT(error_of({"-r", "9", "s"}), HasSubstr("--redirects"));
  EXPECT_THAT(error_of({"-m", "--no-python", "s"}), HasSubstr("exclude each other"));
  EXPECT_THAT(error_of({"--local-ranks-filter", "0,x", "s"}), HasSubstr("--local-ranks-filter"));
  EXPECT_THAT(error_of({"--shutdown-timeout", "-1", "s"}), HasSubstr("--shutdown-timeout"));
  EXPECT_THAT(error_of({"s"}, {{"TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "x"}}),
              HasSubstr("TORCH_ELASTIC_SHUTDOWN_TIMEOUT"));
  EXPECT_THAT(error_of({"--nnodes=2", "--master-port=1", "--node-rank", "2", "s"}),
              HasSubstr("--node-rank: 2 is not in 0 to 1"));
  EXPECT_THAT(error_of({"--nnodes=2", "--rdzv-backend=c10d", "--rdzv-endpoint=h:0", "s"}),
              HasSubstr("port 0"));
}

TEST(TorchrunOptions, FiltersAreWordsWithDoubledCommasForCommas) {
  const auto options =
      options_of({"--duplicate-stdout-filters", "a,,b,c", "--local-ranks-filter", "0, 2", "s"});
  EXPECT_THAT(options.stdout_filters, ElementsAre("a,b", "c"));
  EXPECT_TRUE(options.stderr_filters.empty());
  EXPECT_THAT(options.local_ranks_filter, ElementsAre(0, 2));
}

TEST(TorchrunOptions, TheOptionForThePrefixBeatsTheVariable) {
  const std::map<std::string, std::string> variable{{"TORCHELASTIC_LOG_LINE_PREFIX_TEMPLATE", "v"}};
  EXPECT_EQ(options_of({"s"}, variable).line_prefix, "v");
  EXPECT_EQ(options_of({"--log-line-prefix-template", "o", "s"}, variable).line_prefix, "o");
}

TEST(TorchrunOptions, RunPathBeatsNoPython) {
  EXPECT_EQ(options_of({"--run-path", "--no-python", "s"}).run, TorchrunOptions::Run::kPath);
  EXPECT_EQ(options_of({"--no-python", "s"}).run, TorchrunOptions::Run::kProgram);
  EXPECT_EQ(options_of({"-m", "s"}).run, TorchrunOptions::Run::kModule);
}

TEST(TorchrunOptions, UnknownSignalsAreLeftOutWithANote) {
  const auto options = options_of({"--signals-to-handle", "SIGUSR1, SIGNONE,SIGKILL", "s"});
  EXPECT_THAT(options.signals, ElementsAre(SIGUSR1));
  EXPECT_EQ(options.notes.size(), 2U);
}

TEST(TorchrunOptions, HelpListsEveryOption) {
  const std::string help = answer_to({"--help"});
  EXPECT_THAT(help, HasSubstr("--nproc-per-node"));
  EXPECT_THAT(help, HasSubstr("-t, --tee"));
}

TEST(TorchrunOptions, PrintCompletionNeedsNoScriptAndKnowsEveryOption) {
  for (const char* shell : {"bash", "zsh", "tcsh"}) {
    const std::string script = answer_to({"--print_completion", shell});
    for (const ArgumentSpec& spec : torchrun_options())
      EXPECT_THAT(script, HasSubstr(std::string(spec.name))) << shell;
    EXPECT_THAT(script, HasSubstr("spawn fork forkserver")) << shell;
  }
  EXPECT_THAT(error_of({"--print-completion", "fish"}), HasSubstr("bash, zsh, tcsh"));
}

TEST(RanksOnNode, NumbersAndWords) {
  EXPECT_EQ(ranks_on_node("8", 0, 2), 8);
  EXPECT_EQ(ranks_on_node("gpu", 4, 64), 4);
  EXPECT_EQ(ranks_on_node("auto", 4, 64), 4);
  EXPECT_EQ(ranks_on_node("auto", 0, 64), 64);
  EXPECT_EQ(ranks_on_node("cpu", 4, 64), 64);
  for (const char* text : {"0", "-1", "x", ""}) EXPECT_FALSE(ranks_on_node(text, 4, 64)) << text;
  EXPECT_FALSE(ranks_on_node("gpu", 0, 64));
}

TEST(VisibleGpus, CudaStopsAtTheFirstThatIsNotThere) {
  EXPECT_EQ(visible_gpus(std::nullopt, 8), 8);
  EXPECT_EQ(visible_gpus("0,3", 8), 2);
  EXPECT_EQ(visible_gpus("0,9,1", 8), 1);
  EXPECT_EQ(visible_gpus("GPU-1234,GPU-5678", 8), 2);
  EXPECT_EQ(visible_gpus("", 8), 0);
  EXPECT_EQ(visible_gpus("-1", 8), 0);
}

}  // namespace
}  // namespace megalaunch
