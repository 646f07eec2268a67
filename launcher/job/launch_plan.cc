#include "launcher/job/launch_plan.h"

namespace megalaunch {

PlannedLaunch plan_launch(const Job& job, const Variables& environment, const HostFacts& host) {
  const ContractOverrides overrides{job.launch.nodes, job.launch.ranks_per_node,
                                    job.launch.endpoint};
  const ContractReading reading = read_node_contract(job.platform, environment, overrides, host);

  PlannedLaunch planned;
  for (const ContractProblem& problem : reading.problems)
    planned.errors.push_back({"environment", 0, 0, problem.variable, problem.message});
  if (!planned.errors.empty()) return planned;

  const NodeContract& contract = reading.contract;
  LaunchPlan plan;
  plan.platform = contract.platform;
  plan.nodes = contract.nodes;
  plan.node_rank = contract.node_rank;
  plan.ranks_per_node = contract.ranks_per_node;
  plan.endpoint = contract.endpoint;
  plan.cwd = job.workdir;
  if (job.output) {
    plan.output = job.workdir / *job.output;
  } else if (contract.output) {
    plan.output = job.workdir / *contract.output;
  }
  plan.log_dir =
      job.logs.dir ? job.workdir / *job.logs.dir : plan.output.value_or(job.workdir) / "logs";
  planned.plan = std::move(plan);
  return planned;
}

}  // namespace megalaunch
