#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "env/clock.h"
#include "launcher/job/job.h"
#include "launcher/job/launch_plan.h"
#include "launcher/job/megatron_settings.h"
#include "launcher/megatron/data_list.h"
#include "launcher/megatron/preset.h"
#include "launcher/megatron/script.h"

namespace megalaunch {

/// A `megatron:` job with every default filled in, every derived value computed and every path
/// settled; what the command line, the checks and the estimate are made from. A plain value;
/// nothing of it exists yet.
struct Training {
  const ScriptVariant* script = nullptr;  ///< null: megalaunch's own mode
  ModelPreset model;                      ///< of gpt too: the sizes of the job file are in it
  int nodes = 1;
  int ranks_per_node = 1;

  MegatronSettings::Precision precision = MegatronSettings::Precision::kBf16;
  Number tp{1}, pp{1}, cp{1};
  bool sequence = true;        ///< as asked for; passed on only when tp > 1
  std::string virtual_layers;  ///< layers per virtual stage as passed; empty: not passed
  Number micro{1}, global{1024}, sequence_length{8192}, padding_length{8192};
  Decimal lr, min_lr;
  bool distributed = true;
  bool distributed_forced = false;  ///< switched on because the optimizer is offloaded
  MegatronSettings::Offload offload = MegatronSettings::Offload::kNone;
  MegatronSettings::Activations activations = MegatronSettings::Activations::kNone;
  std::string activations_word = "none";
  Number activation_layers{1};
  bool flash_attention = true;

  MegatronSettings::Mode mode = MegatronSettings::Mode::kPretrain;
  std::string iterations = "0", warmup_iterations = "0", decay_iterations = "0";  ///< as passed
  MegatronSettings::DataType data_type = MegatronSettings::DataType::kIdxmap;
  DataList train_data, valid_data;
  bool packing = false;
  std::string data_index;  ///< gpt: a label in the name of the data cache
  std::string tokenizer;   ///< gpt
  Number save_interval{1000};
  std::string load;     ///< the initial model and tokenizer; empty: none
  bool resume = false;  ///< go on from the run's own checkpoint when there is one
  std::vector<std::string> extra_args;

  std::string root;    ///< absolute
  std::string output;  ///< as the command line spells it
  std::string run_name;
  std::string checkpoint_dir;
  std::string tensorboard_dir;

  std::int64_t world() const { return std::int64_t{nodes} * ranks_per_node; }
};

/// What resolve_training gives: a training, or at least one error (with the place of the key at
/// fault).
struct ResolvedTraining {
  std::optional<Training> training;
  std::vector<JobError> errors;
};

/// Fills in `job.megatron`, which is there. `plan` holds the nodes and the output directory; `now`
/// goes into names. Reads the preset and the data list file when the job names one, and nothing
/// else.
ResolvedTraining resolve_training(const Job& job, const LaunchPlan& plan, WallTime now);

/// The layers per virtual stage that own mode takes for `auto`: the largest divisor of a stage's
/// layers that leaves at least four virtual stages, or one layer each; nothing where virtual stages
/// are not valid or not of use.
std::optional<std::int64_t> automatic_virtual_layers(std::int64_t layers, std::int64_t pp,
                                                     std::int64_t micro_batches);

}  // namespace megalaunch
