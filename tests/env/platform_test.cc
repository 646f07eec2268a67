#include "env/platform.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace megalaunch {
namespace {

using testing::HasSubstr;

Variables tianqing(const std::string& without = "") {
  Variables variables({{"WORLD_SIZE", "4"},
                       {"RANK", "2"},
                       {"TQ_GPU_NUM", "8"},
                       {"MASTER_ADDR", "job-master-0"},
                       {"MASTER_PORT", "24651"},
                       {"OUTPUT_DIR", "/data/out"}});
  variables.unset(without);
  return variables;
}

std::vector<std::string> faults(PlatformKind kind, const Variables& variables,
                                const ContractOverrides& overrides = {}) {
  std::vector<std::string> names;
  for (const auto& problem : read_node_contract(kind, variables, overrides, {}).problems) {
    EXPECT_THAT(problem.message, HasSubstr(problem.variable));
    names.push_back(problem.variable);
  }
  return names;
}

using Names = std::vector<std::string>;

TEST(Platform, TianqingCountsNodesInWorldSize) {
  const auto reading = read_node_contract(PlatformKind::kTianqing, tianqing(), {}, {});
  ASSERT_TRUE(reading.problems.empty());
  const NodeContract& contract = reading.contract;
  EXPECT_EQ(contract.nodes, 4);
  EXPECT_EQ(contract.node_rank, 2);
  EXPECT_EQ(contract.ranks_per_node, 8);
  EXPECT_EQ(contract.endpoint, (Endpoint{"job-master-0", 24651}));
  EXPECT_EQ(contract.output, "/data/out");
}

TEST(Platform, EveryMissingVariableIsNamedAtOnce) {
  EXPECT_EQ(faults(PlatformKind::kTianqing, Variables()),
            (Names{"WORLD_SIZE", "TQ_GPU_NUM", "MASTER_ADDR", "MASTER_PORT"}));
  EXPECT_EQ(faults(PlatformKind::kDlc, Variables()),
            (Names{"WORLD_SIZE", "RANK", "KUBERNETES_CONTAINER_RESOURCE_GPU", "MASTER_ADDR",
                   "MASTER_PORT"}));
}

TEST(Platform, AnEmptyVariableIsMissing) {
  Variables variables = tianqing();
  variables.set("MASTER_ADDR", "");
  EXPECT_EQ(faults(PlatformKind::kTianqing, variables), Names{"MASTER_ADDR"});
}

TEST(Platform, MalformedNumbersAreNamed) {
  for (const auto& [name, value] : {std::pair("WORLD_SIZE", "0"),
                                    {"WORLD_SIZE", "4x"},
                                    {"TQ_GPU_NUM", "-1"},
                                    {"RANK", "1.5"},
                                    {"MASTER_PORT", "70000"},
                                    {"WORLD_SIZE", "99999999999999999999"}}) {
    Variables variables = tianqing();
    variables.set(name, value);
    EXPECT_EQ(faults(PlatformKind::kTianqing, variables), Names{name}) << value;
  }
}

TEST(Platform, ANodeRankBeyondTheNodesIsRefused) {
  Variables variables = tianqing();
  variables.set("RANK", "4");
  EXPECT_EQ(faults(PlatformKind::kTianqing, variables), Names{"RANK"});
}

TEST(Platform, WithoutARankTheOrderOfArrivalDecides) {
  const auto reading = read_node_contract(PlatformKind::kTianqing, tianqing("RANK"), {}, {});
  EXPECT_TRUE(reading.problems.empty());
  EXPECT_EQ(reading.contract.node_rank, std::nullopt);
}

TEST(Platform, TheJobFileStandsAboveTheVariables) {
  const ContractOverrides overrides{2, 3, "here:77"};
  const auto reading = read_node_contract(PlatformKind::kTianqing, Variables(), overrides, {});
  EXPECT_TRUE(reading.problems.empty());
  EXPECT_EQ(reading.contract.nodes, 2);
  EXPECT_EQ(reading.contract.ranks_per_node, 3);
  EXPECT_EQ(reading.contract.endpoint, (Endpoint{"here", 77}));
}

TEST(Platform, DswIsOneNodeOfEightWithADrawnPort) {
  const auto contract =
      read_node_contract(PlatformKind::kDsw, Variables(), {}, {std::nullopt, 15204}).contract;
  EXPECT_EQ(contract.nodes, 1);
  EXPECT_EQ(contract.ranks_per_node, 8);
  EXPECT_EQ(contract.endpoint.to_string(), "localhost:15204");
}

TEST(Platform, LocalUsesTheGpusOfTheMachineAndAFreePort) {
  const auto contract =
      read_node_contract(PlatformKind::kAuto, Variables(), {}, {4, std::nullopt}).contract;
  EXPECT_EQ(contract.platform, PlatformKind::kLocal);
  EXPECT_EQ(contract.ranks_per_node, 4);
  EXPECT_EQ(contract.node_rank, 0);
  EXPECT_EQ(contract.endpoint.to_string(), "127.0.0.1:0");
}

TEST(Platform, SeveralLocalNodesNeedAnEndpoint) {
  EXPECT_EQ(faults(PlatformKind::kLocal, Variables(), {2, 1, std::nullopt}),
            Names{"launch.endpoint"});
  EXPECT_TRUE(faults(PlatformKind::kLocal, Variables(), {2, 1, "a:1"}).empty());
}

TEST(Platform, PyTorchJobPrefersTheElasticVariables) {
  const Variables variables({{"PET_NNODES", "3"},
                             {"PET_NPROC_PER_NODE", "2"},
                             {"WORLD_SIZE", "6"},
                             {"RANK", "1"},
                             {"MASTER_ADDR", "m"},
                             {"MASTER_PORT", "23456"}});
  const auto reading = read_node_contract(PlatformKind::kPyTorchJob, variables, {}, {});
  ASSERT_TRUE(reading.problems.empty());
  EXPECT_EQ(reading.contract.nodes, 3);
  EXPECT_EQ(reading.contract.ranks_per_node, 2);
}

TEST(Platform, SlurmMeetsAtTheFirstHostOfTheList) {
  const Variables variables({{"SLURM_JOB_NUM_NODES", "3"},
                             {"SLURM_NODEID", "1"},
                             {"SLURM_GPUS_ON_NODE", "8"},
                             {"SLURM_JOB_NODELIST", "gpu[03-05]"},
                             {"SLURM_JOB_ID", "4711"}});
  const auto reading = read_node_contract(PlatformKind::kSlurm, variables, {}, {});
  ASSERT_TRUE(reading.problems.empty());
  EXPECT_EQ(reading.contract.nodes, 3);
  EXPECT_EQ(reading.contract.node_rank, 1);
  EXPECT_EQ(reading.contract.endpoint, (Endpoint{"gpu03", 24711}));
}

TEST(Platform, SlurmHostListsAreRead) {
  EXPECT_EQ(first_slurm_host("a1"), "a1");
  EXPECT_EQ(first_slurm_host("a1,b2"), "a1");
  EXPECT_EQ(first_slurm_host("a1,b[2-3]"), "a1");
  EXPECT_EQ(first_slurm_host("n[003-005,9],m1"), "n003");
  EXPECT_EQ(first_slurm_host("n[7,9]"), "n7");
}

TEST(Platform, IsRecognisedByItsOwnVariables) {
  EXPECT_EQ(detect_platform(tianqing()), PlatformKind::kTianqing);
  EXPECT_EQ(
      detect_platform(Variables({{"KUBERNETES_CONTAINER_RESOURCE_GPU", "8"}, {"WORLD_SIZE", "1"}})),
      PlatformKind::kDlc);
  EXPECT_EQ(detect_platform(tianqing("TQ_GPU_NUM")), PlatformKind::kPyTorchJob);
  EXPECT_EQ(detect_platform(Variables()), PlatformKind::kLocal);
}

TEST(Endpoint, IsReadAndWritten) {
  EXPECT_EQ(parse_endpoint("a.b:1"), (Endpoint{"a.b", 1}));
  EXPECT_EQ(parse_endpoint("[::1]:29500"), (Endpoint{"::1", 29500}));
  EXPECT_EQ((Endpoint{"::1", 29500}).to_string(), "[::1]:29500");
  for (const char* bad : {"", "a", "a:", ":1", "a:b", "a:65536", "a:-1", "::1:5"})
    EXPECT_FALSE(parse_endpoint(bad)) << bad;
}

}  // namespace
}  // namespace megalaunch
