#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "launcher/job/document.h"
#include "launcher/job/section.h"

namespace megalaunch {

/// A whole number as the file spells it, because a script hands the spelling on and it becomes part
/// of names.
struct Number {
  std::string text;
  std::int64_t value = 0;  ///< as the training program reads it: decimal
  std::int64_t shell = 0;  ///< as shell arithmetic reads it: octal after a leading 0

  Number() = default;
  explicit Number(std::int64_t number)
      : text(std::to_string(number)), value(number), shell(number) {}
};

/// A number with a fraction or an exponent, such as a learning rate, as the file spells it.
struct Decimal {
  std::string text;
  double value = 0;
};

/// The `megatron:` section as written. An empty optional is a key that is not there; what it then
/// stands for is up to launcher/megatron, which knows the model and the script. All values are of
/// the schema (docs/megatron.md).
struct MegatronSettings {
  enum class Precision { kFp16, kBf16, kFp8 };
  enum class Activations { kNone, kSelective, kFull, kOffload };
  enum class Offload { kNone, kStatic, kAuto };
  enum class Mode { kPretrain, kFinetune, kDatalist };
  enum class DataType { kIdxmap, kRaw };
  enum class Resume { kNone, kAuto };

  struct Sizes {
    std::optional<Number> layers, hidden, ffn, heads;
  };
  struct Parallel {
    std::optional<Number> tp, pp, cp;
    std::optional<bool> sequence;
    bool virtual_none = false;                   ///< `virtual_stage_layers: none`
    std::optional<Number> virtual_stage_layers;  ///< a number; neither this nor virtual_none: auto
  };
  struct Batch {
    std::optional<Number> micro, global, sequence_length, padding_length;
  };
  struct Optimizer {
    std::optional<Decimal> lr, min_lr;
    std::optional<bool> distributed;
    std::optional<Offload> offload;
  };
  struct ActivationMemory {
    std::optional<Activations> mode;
    std::string word;  ///< as the run name of a script spells it: none, false, sel, full, offload
    std::optional<Number> layers;
  };
  struct Train {
    std::optional<Mode> mode;
    std::optional<Number> tokens, warmup_tokens, iterations, warmup_iterations, seen_steps;
  };
  struct Data {
    std::optional<DataType> type;
    std::optional<std::vector<std::string>> train, valid;
    std::optional<bool> packing;
    std::optional<std::string> datalist, extra_valid;
  };

  std::optional<std::string> script;
  std::optional<std::string> model;
  std::optional<std::string> root;
  std::optional<Precision> precision;
  Sizes sizes;
  Parallel parallel;
  Batch batch;
  Optimizer optimizer;
  ActivationMemory activations;
  std::optional<bool> flash_attention;
  Train train;
  Data data;
  std::optional<std::string> data_index;
  std::optional<std::string> tokenizer;
  std::optional<std::string> load;
  std::optional<Number> save_interval;
  std::optional<Resume> resume;
  std::vector<std::string> extra_args;

  /// Where each key that is there was written, by its name below `megatron:` ("parallel.tp"), for
  /// later complaints.
  struct Position {
    std::string file;
    int line = 0;
    int column = 0;
  };
  std::map<std::string, Position> positions;
  Position section;
};

/// Reads the section; what is wrong goes to `complaints`, whose keys leave out the leading
/// "megatron.".
std::shared_ptr<const MegatronSettings> read_megatron_settings(const YamlNode& node,
                                                               std::vector<Complaint>& complaints);

}  // namespace megalaunch
