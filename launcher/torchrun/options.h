#pragma once

#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "env/clock.h"
#include "env/platform.h"
#include "env/result.h"
#include "env/variables.h"
#include "launcher/torchrun/rendezvous_options.h"
#include "launcher/torchrun/stream_choice.h"

namespace megalaunch {

/// A torchrun command line, understood: what it asks for, with everything derived that needs no
/// look at the machine. A plain value.
struct TorchrunOptions {
  enum class Run {
    kScript,   ///< python -u script
    kModule,   ///< python -u -m script
    kPath,     ///< python, script by runpy.run_path, exceptions in error.json
    kProgram,  ///< the script itself
  };

  int min_nodes = 1;
  int max_nodes = 1;
  std::string ranks_per_node = "1";  ///< a number, gpu, cpu or auto
  bool is_static = true;             ///< the back end: static or c10d
  bool alone = false;  ///< one node on a free port: --standalone, or implied (since 2.12)
  Endpoint endpoint;   ///< where node 0 listens; port 0 when alone
  std::string id;      ///< empty when alone: a fresh one is to be drawn
  RendezvousConf conf;
  std::optional<int> node_rank;  ///< nothing: by order of arrival
  std::string local_addr;
  int max_restarts = 0;
  seconds shutdown_timeout{30};
  std::vector<int> signals;
  std::string role;
  Run run = Run::kScript;
  std::string script;
  std::vector<std::string> script_args;
  std::optional<std::string> log_dir;  ///< nothing: a temporary one
  StreamChoice redirects;
  StreamChoice tee;
  std::set<int> local_ranks_filter;  ///< empty: all
  std::vector<std::string> stdout_filters;
  std::vector<std::string> stderr_filters;
  std::string line_prefix;  ///< a template
  bool virtual_local_rank = false;
  std::string numa_binding;        ///< empty: none
  std::vector<std::string> notes;  ///< for a person: what was accepted and means nothing

  bool to_dev_null() const { return log_dir == "/dev/null"; }
};

/// What a command line that starts nothing wants to have printed: --help, --print-completion.
struct TorchrunAnswer {
  std::string text;
};

/// A command line as torchrun takes it. Errors: kUsage for what argparse refuses (exit 2), kRefused
/// for what torchrun refuses later (exit 1), and for what makes no sense in a native launcher; the
/// message says why.
Result<std::variant<TorchrunOptions, TorchrunAnswer>> parse_torchrun_options(
    const std::vector<std::string>& args, const Variables& environment);

/// How many ranks `text` (--nproc-per-node) stands for on a machine with so many usable GPUs and
/// CPUs.
Result<int> ranks_on_node(const std::string& text, int gpus, int cpus);

/// How many of `gpus` devices CUDA_VISIBLE_DEVICES leaves: CUDA stops at the first that is not
/// there.
int visible_gpus(const std::optional<std::string>& cuda_visible_devices, int gpus);

}  // namespace megalaunch
