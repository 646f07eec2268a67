#pragma once

#include <map>
#include <string>
#include <string_view>

#include "launcher/results/run_record.h"

namespace megalaunch {

/// Learns a run's settings from what Megatron programs and their scripts print at the start, for
/// logs that have no run.json: the list of arguments (`  tensor_model_parallel_size ...... 2`), a
/// command line (`... --tensor-model-parallel-size 2 ...`), and the run name that the scripts put
/// into paths. The list wins, because it says what the program made of the command.
class PrintedArguments {
 public:
  /// Any line; returns whether it said something.
  bool feed(std::string_view line);

  /// What is known so far; the name is the run name, when one was seen.
  RunRecord record() const;

 private:
  bool feed_list_entry(std::string_view line);
  bool feed_command_line(std::string_view line);

  /// By the name of the list: "tensor_model_parallel_size".
  std::map<std::string, std::string, std::less<>> listed_;
  std::map<std::string, std::string, std::less<>> commanded_;
};

/// The settings in a run name such as
/// `pretrain-mcore-llama3-1-8B-lr-1e-5-minlr-1e-6-bs-1-gbs-1024-seqlen-8192-pr-fp8-tp-1-pp-2-cp-1-ac-sel-do-true-sp-true-ti-11920-wi-11`,
/// wherever it stands in `text` (a path, a line). Empty when there is none.
RunRecord record_from_run_name(std::string_view text);

}  // namespace megalaunch
