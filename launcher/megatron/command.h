#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "env/clock.h"
#include "env/variables.h"
#include "launcher/job/job.h"
#include "launcher/job/launch_plan.h"
#include "launcher/job/preparation.h"
#include "launcher/megatron/arguments.h"
#include "launcher/megatron/checks.h"

namespace megalaunch {

/// The command of a `megatron:` job and what it needs before it starts. A plain value; nothing of
/// it exists yet.
struct MegatronCommand {
  std::string entry;                      ///< the training script, relative to cwd
  std::vector<std::string> program_args;  ///< its arguments
  std::string cwd;                        ///< absolute
  std::map<std::string, std::string>
      env;  ///< to set beyond the inherited; the job's own `env` stands above it
  std::vector<std::string> directories;  ///< to make first, by node 0 alone
  std::vector<CopyRule> copies;          ///< to do first, by node 0 alone, after the directories
  std::vector<Check>
      checks;         ///< what is wrong with it; an error refuses the job (--no-checks: not)
  Training training;  ///< what it was made from

  /// What each rank runs: python3 -u ENTRY ARGS.
  std::vector<std::string> argv() const;
};

/// What plan_megatron gives: a command, or at least one error.
struct PlannedMegatron {
  std::optional<MegatronCommand> command;
  std::vector<JobError> errors;
};

/// Computes the command of `job`, which has a `megatron` section, on the nodes of `plan`. `now`
/// goes into names: node 0 chooses it once for all nodes. With `resume` it goes on from the run's
/// own checkpoint (resume_point finds it). Looks at no data, model or output path: only the model
/// preset and `data.datalist` are read. `checks` are those that need no more (path_checks.h has the
/// others).
PlannedMegatron plan_megatron(const Job& job, const LaunchPlan& plan, const Variables& environment,
                              WallTime now, const std::optional<ResumeFrom>& resume = std::nullopt);

}  // namespace megalaunch
