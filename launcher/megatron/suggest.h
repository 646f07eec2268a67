#pragma once

#include <string>

#include "env/result.h"
#include "launcher/megatron/estimate.h"

namespace megalaunch {

/// What `megalaunch init` is asked for.
struct SuggestionWish {
  std::string model;      ///< a preset
  int gpus = 8;           ///< of the whole job
  int gpus_per_node = 8;  ///< a job of fewer GPUs has one node
  std::string precision = "bf16";
  double card_mib = kCardMib80;
};

struct Suggestion {
  std::string text;  ///< a job file with comments
  Estimate estimate;
  bool fits = false;  ///< the estimate goes into the card with room to spare
};

/// A job file that the checks accept, with the least splitting of the model that fits the card:
/// every split costs speed, pipeline stages less than tensor parallelism. When nothing fits, the
/// one that needs least. The error says what the number of GPUs rules out. Pure apart from reading
/// a preset of the user's own.
Result<Suggestion> suggest_job(const SuggestionWish& wish);

}  // namespace megalaunch
