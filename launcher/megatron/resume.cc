#include "launcher/megatron/resume.h"

#include <fmt/format.h>

#include <fstream>

#include "launcher/job/section.h"
#include "launcher/megatron/training.h"

namespace megalaunch {
namespace {

namespace fs = std::filesystem;

constexpr const char* kTracker = "latest_checkpointed_iteration.txt";

std::string first_word(const fs::path& path) {
  std::ifstream file(path);
  std::string word;
  file >> word;
  return word.substr(0, 64);
}

/// Whether the folder of an iteration holds optimizer state. In the older format the distributed
/// optimizer has files of its own, and any other is inside the model's files; the newer format
/// (with .metadata) holds what the run saves.
bool has_optimizer(const fs::path& iteration_dir, bool distributed) {
  std::error_code error;
  bool has_legacy_model = false;
  for (fs::recursive_directory_iterator entry(iteration_dir, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (name == "distrib_optim.pt" || name == "metadata.json" || name == ".metadata") return true;
    has_legacy_model = has_legacy_model || name == "model_optim_rng.pt";
  }
  return has_legacy_model && !distributed;
}

StartPoint from_initial(std::string why) {
  return {std::nullopt, 0, "starts from the initial model: " + std::move(why)};
}

}  // namespace

StartPoint find_checkpoint(const fs::path& checkpoint_dir, bool distributed) {
  std::error_code error;
  const fs::path tracker = checkpoint_dir / kTracker;
  if (!fs::exists(tracker, error))
    return from_initial(fmt::format("{} has no checkpoint yet", checkpoint_dir.string()));
  const std::string word = first_word(tracker);
  const auto iteration = parse_integer(word);
  if (word != "release" && (!iteration || *iteration < 0))
    return from_initial(
        fmt::format("{} holds '{}', which is no iteration", tracker.string(), word));
  const fs::path folder =
      checkpoint_dir / (iteration ? fmt::format("iter_{:07}", *iteration) : word);
  const fs::directory_iterator entries(folder, error);
  if (error || entries == fs::directory_iterator())
    return from_initial(fmt::format("{} names iteration {}, but {} {}", tracker.string(), word,
                                    folder.string(),
                                    error ? "cannot be read: " + error.message() : "is empty"));
  StartPoint start;
  start.iteration = iteration.value_or(0);
  start.resume = ResumeFrom{iteration && has_optimizer(folder, distributed)};
  start.explanation =
      fmt::format("resumes from iteration {} in {}, {} optimizer and random state", word,
                  checkpoint_dir.string(), start.resume->optimizer ? "with" : "without");
  return start;
}

StartPoint find_start_point(const Training& training) {
  if (!training.resume) return from_initial("it is not told to resume (resume: auto)");
  return find_checkpoint(training.checkpoint_dir, training.distributed);
}

}  // namespace megalaunch
