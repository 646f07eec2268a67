#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "env/clock.h"
#include "env/result.h"
#include "launcher/megatron/model_size.h"

namespace megalaunch {

/// What is known of a run apart from what it measured: `run.json` in the run's directory. Node 0's
/// agent writes it when the run starts and again when it ends; `megalaunch report` reads it. A
/// plain value; what is not known is empty or absent, and every field but the name may be.
struct RunRecord {
  std::string name;    ///< of the job
  std::string run_id;  ///< names the directory

  std::string model;      ///< preset or table name, "llama3.1-8b"; empty for a plain command
  ModelSize size;         ///< complete, or all zero and then taken from the name
  std::string precision;  ///< fp16 | bf16 | fp8
  std::optional<int> nodes;
  std::optional<int> gpus;  ///< of all nodes
  std::optional<int> tp;
  std::optional<int> pp;
  std::optional<int> cp;
  std::optional<std::int64_t> mbs;
  std::optional<std::int64_t> gbs;
  std::optional<std::int64_t> seq;
  std::string activations;  ///< none | selective | full | offload
  std::optional<std::int64_t> virtual_stage_layers;
  std::string card;  ///< the driver's name of the GPU, "NVIDIA H100 80GB HBM3"

  std::optional<WallTime> started;
  std::optional<WallTime> ended;
  std::optional<int> generations;  ///< lives of the gang so far, 1 = no restart
  std::string
      outcome;  ///< running | ok | error | oom | stopped | not_run; empty when nothing says so
  std::optional<int> exit_code;
  std::string cause;  ///< kind of configs/causes.yaml, when the outcome has one

  bool operator==(const RunRecord&) const = default;

  /// Fills each field that is still unknown from `other`.
  void complete_from(const RunRecord& other);
};

/// `false`, `none` and nothing -> "none"; `sel` -> "selective"; the other words of a script or job
/// file stay.
std::string activations_word(std::string_view as_written);

/// The object of run.json. Unknown fields are left out; times are "2024-11-07T16:27:21Z".
nlohmann::json to_json(const RunRecord& record);
/// The reverse. Unknown keys are ignored, so that a newer launcher's record can be read; a wrong
/// type is an error that names the key.
Result<RunRecord> run_record_from_json(const nlohmann::json& json);

/// Writes `<run_directory>/run.json`, making the directory; a reader sees the old or the new file,
/// never a part of one.
Status write_run_record(const std::filesystem::path& run_directory, const RunRecord& record);
/// Reads it. kUnavailable when there is none, kUsage when it is damaged.
Result<RunRecord> read_run_record(const std::filesystem::path& run_directory);

}  // namespace megalaunch
