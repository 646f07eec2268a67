#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "launcher/job/megatron_settings.h"
#include "launcher/megatron/preset.h"

namespace megalaunch {

/// One of the eight shell scripts that `script:` reproduces: how it differs from its siblings, and
/// the settings that are printed in it, which stand for keys that the job file leaves out.
/// docs/megatron.md describes all of them.
struct ScriptVariant {
  enum class VirtualStages {
    kNever,    ///< the option is not passed
    kQuarter,  ///< layers / PP / 4, whatever is set
    kAsSet,    ///< passed when set
  };

  std::string_view name;
  ModelFamily family;
  bool upstream;             ///< settings came as 25 positional arguments
  bool tensorboard_per_run;  ///< else one directory for all runs
  VirtualStages virtual_stages;
  std::string_view model;  ///< printed settings from here on; empty: the job file must say it
  MegatronSettings::Precision precision;
  int tp, pp, cp;
  MegatronSettings::Activations activations;
  std::string_view activations_word;  ///< as its run name spells it
  int save_interval;
  std::string_view load;
};

const std::vector<ScriptVariant>& script_variants();
/// Null when there is no such script.
const ScriptVariant* find_script(std::string_view name);

}  // namespace megalaunch
