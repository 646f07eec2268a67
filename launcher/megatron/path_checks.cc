#include "launcher/megatron/path_checks.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

namespace megalaunch {
namespace {

namespace fs = std::filesystem;
using Settings = MegatronSettings;

bool is_weight(const std::string& word) {
  return word.find_first_not_of("0123456789.eE+-") == std::string::npos;
}

class PathChecker {
 public:
  PathChecker(const Job& job, const MegatronCommand& command)
      : command_(command),
        t_(command.training),
        staged_(job.prepare.empty() ? Check::Level::kError : Check::Level::kWarning) {}

  std::vector<Check> run() {
    program();
    data();
    if (t_.model.family != ModelFamily::kGpt && !t_.load.empty()) tokenizer();
    if (t_.model.family == ModelFamily::kGpt && !readable(t_.tokenizer))
      add(staged_, "tokenizer-missing", fmt::format("tokenizer: cannot read {}", t_.tokenizer));
    output();
    return std::move(checks_);
  }

 private:
  void add(Check::Level level, const char* code, std::string message) {
    if (level == Check::Level::kWarning && staged_ == level)
      message += " (a prepare step may still bring it)";
    checks_.push_back({code, level, std::move(message)});
  }

  static bool readable(const fs::path& path) { return ::access(path.c_str(), R_OK) == 0; }

  void program() {
    const fs::path entry = fs::path(command_.cwd) / command_.entry;
    if (readable(entry)) return;
    add(staged_, "program-missing",
        fmt::format("root: cannot read the training script {}; is root '{}' the right tree?",
                    entry.lexically_normal().string(), t_.root));
  }

  void data() {
    const bool raw =
        t_.data_type == Settings::DataType::kRaw && t_.model.family != ModelFamily::kGpt;
    const auto look = [&](const char* key, const std::vector<std::string>& words) {
      for (const std::string& word : words) {
        if (is_weight(word)) continue;
        const fs::path path = fs::path(command_.cwd) / word;
        const auto suffixes =
            raw ? std::vector<std::string>{""} : std::vector<std::string>{".bin", ".idx"};
        for (const std::string& suffix : suffixes)
          if (!readable(path.string() + suffix))
            add(staged_, "data-missing",
                fmt::format("{}: cannot read {}{}", key, path.string(), suffix));
      }
    };
    look(t_.mode == Settings::Mode::kDatalist ? "data.datalist" : "data.train",
         t_.train_data.words);
    if (raw) look("data.valid", t_.valid_data.words);
  }

  void tokenizer() {
    std::error_code error;
    if (!fs::is_directory(t_.load, error)) {
      add(staged_, "load-missing", fmt::format("load: {} is no readable directory", t_.load));
      return;
    }
    bool has_json = false;
    for (const auto& entry : fs::directory_iterator(t_.load, error))
      has_json = has_json || entry.path().extension() == ".json";
    if (!has_json)
      add(staged_, "tokenizer-missing",
          fmt::format("load: {} holds no *.json, so no tokenizer", t_.load));
    if (t_.model.family == ModelFamily::kQwen && !readable(fs::path(t_.load) / "merges.txt"))
      add(staged_, "tokenizer-missing",
          fmt::format("load: {} holds no merges.txt, which a Qwen tokenizer needs", t_.load));
    compare_with_config();
  }

  /// A tokenizer of a smaller sister model works, and its config.json then lies beside the
  /// checkpoint and misleads whoever loads it: the trap of 70B set up with the directory of 8B.
  void compare_with_config() {
    std::ifstream file(fs::path(t_.load) / "config.json");
    if (!file) return;
    const auto config = nlohmann::json::parse(file, nullptr, false);
    if (!config.is_object()) {
      checks_.push_back({"tokenizer-of-another-model", Check::Level::kWarning,
                         fmt::format("load: {}/config.json is not JSON", t_.load)});
      return;
    }
    const ModelPreset& m = t_.model;
    const auto differs = [&](const char* key, std::int64_t wanted) {
      const auto found = config.find(key);
      if (found == config.end() || !found->is_number_integer() || wanted == 0) return std::string();
      const auto value = found->get<std::int64_t>();
      return value == wanted ? std::string()
                             : fmt::format("{} is {} there and {} here", key, value, wanted);
    };
    if (const auto vocabulary = differs("vocab_size", m.vocabulary); !vocabulary.empty()) {
      checks_.push_back({"tokenizer-of-another-model", Check::Level::kError,
                         fmt::format("load: {} has the tokenizer of another model than {}: {}",
                                     t_.load, m.name, vocabulary)});
      return;
    }
    for (const auto& [key, wanted] :
         {std::pair("hidden_size", m.hidden), {"num_hidden_layers", m.layers}}) {
      const auto difference = differs(key, wanted);
      if (difference.empty()) continue;
      checks_.push_back({"tokenizer-of-another-model", Check::Level::kWarning,
                         fmt::format("load: {} belongs to another model than {} ({}): the "
                                     "vocabulary is the same, but its config.json "
                                     "would lie beside the checkpoint",
                                     t_.load, m.name, difference)});
      return;
    }
  }

  void output() {
    fs::path there = fs::path(command_.cwd) / t_.output;
    std::error_code error;
    while (!fs::exists(there, error) && there.has_relative_path()) there = there.parent_path();
    if (fs::is_directory(there, error) && ::access(there.c_str(), W_OK | X_OK) == 0) return;
    checks_.push_back(
        {"output-not-writable", Check::Level::kError,
         fmt::format("output: {} cannot be written: {} {}", t_.output, there.string(),
                     fs::is_directory(there, error) ? "does not allow it" : "is no directory")});
  }

  const MegatronCommand& command_;
  const Training& t_;
  Check::Level staged_;  ///< of what a prepare step could bring
  std::vector<Check> checks_;
};

}  // namespace

std::vector<Check> check_paths(const Job& job, const MegatronCommand& command) {
  return PathChecker(job, command).run();
}

bool is_elsewhere(const MegatronCommand& command) {
  const Training& t = command.training;
  const auto is_here = [](const fs::path& path) { return ::access(path.c_str(), F_OK) == 0; };
  if (is_here(t.root) || (!t.load.empty() && is_here(t.load))) return false;
  return std::none_of(t.train_data.words.begin(), t.train_data.words.end(),
                      [&](const std::string& word) {
                        return !is_weight(word) &&
                               (is_here(word) || is_here(word + ".bin") || is_here(word + ".idx"));
                      });
}

}  // namespace megalaunch
