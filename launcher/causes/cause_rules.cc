#include "launcher/causes/cause_rules.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <initializer_list>
#include <set>

#include "launcher/causes/cause_rules_data.h"
#include "launcher/causes/evidence.h"

namespace megalaunch {
namespace {

constexpr std::array<std::string_view, kCauseKinds> kNames{
    "config", "out-of-memory", "host-out-of-memory", "store",  "network", "device", "numeric",
    "data",   "signal",        "lost-node",          "unknown"};

/// A rule as written, before the kind's habit is filled in.
struct WrittenRule {
  CauseRule rule;
  std::optional<int> retries;
  std::optional<bool> repeat_ends;
  std::optional<bool> needs_progress;
};

struct Written {
  std::array<RetryHabit, kCauseKinds> habits{};
  std::vector<WrittenRule> rules;
};

/// Thrown by the readers below and caught in read_table(); never leaves this file.
struct BadTable {
  YAML::Mark mark;
  std::string message;
};

[[noreturn]] void bad(const YAML::Node& node, std::string message) {
  throw BadTable{node.Mark(), std::move(message)};
}

void check_keys(const YAML::Node& map, std::initializer_list<std::string_view> known,
                std::string_view what) {
  if (!map.IsMap()) bad(map, fmt::format("{} must be a map", what));
  std::set<std::string> seen;
  for (const auto& entry : map) {
    const auto key = entry.first.as<std::string>();
    if (std::find(known.begin(), known.end(), key) == known.end())
      bad(entry.first, fmt::format("unknown key '{}' in {}", key, what));
    if (!seen.insert(key).second)
      bad(entry.first, fmt::format("key '{}' is there twice in {}", key, what));
  }
}

template <class T>
T value_of(const YAML::Node& node, std::string_view key, std::string_view type) {
  try {
    return node.as<T>();
  } catch (const YAML::Exception&) {
    bad(node, fmt::format("'{}' must be {}", key, type));
  }
}

int count_of(const YAML::Node& node, std::string_view key) {
  const int value = value_of<int>(node, key, "a whole number");
  if (value < 0 || value > 1'000'000)
    bad(node, fmt::format("'{}' must be between 0 and 1000000", key));
  return value;
}

/// A scalar or a sequence of scalars, as a list of nodes.
std::vector<YAML::Node> items_of(const YAML::Node& node) {
  if (!node.IsSequence()) return {node};
  return {node.begin(), node.end()};
}

/// Whether NCCL's own lines can be what the rule knows: by its kind, or as its patterns say so.
bool speaks_of_nccl(const CauseRule& rule) {
  for (const CauseKind kind : {CauseKind::kNetwork, CauseKind::kDevice, CauseKind::kOutOfMemory,
                               CauseKind::kHostOutOfMemory})
    if (rule.kind == kind) return true;
  return std::any_of(rule.match.begin(), rule.match.end(), [](const std::string& pattern) {
    for (const std::string_view name : {"NCCL", "nccl", "CUDA", "cuda"})
      if (pattern.find(name) != pattern.npos) return true;
    return false;
  });
}

WrittenRule read_rule(const YAML::Node& node) {
  check_keys(node,
             {"name", "kind", "match", "frame", "fold_case", "code", "signal", "victim", "weak",
              "silent", "stopping", "before_training", "last_words", "exceptions", "certain",
              "retries", "repeat_ends", "needs_progress", "advice"},
             "a rule");
  WrittenRule written;
  CauseRule& rule = written.rule;
  if (!node["name"] || !node["kind"]) bad(node, "a rule needs a name and a kind");
  rule.name = value_of<std::string>(node["name"], "name", "text");
  const auto kind_name = value_of<std::string>(node["kind"], "kind", "text");
  const auto kind = parse_cause_kind(kind_name);
  if (!kind)
    bad(node["kind"], fmt::format("rule '{}': there is no kind '{}'", rule.name, kind_name));
  rule.kind = *kind;
  const auto flag = [&](const char* key, bool otherwise) {
    return node[key] ? value_of<bool>(node[key], key, "true or false") : otherwise;
  };
  rule.fold_case = flag("fold_case", false);
  rule.victim = flag("victim", false);
  rule.weak = flag("weak", false);
  rule.silent = flag("silent", false);
  rule.stopping = flag("stopping", false);
  rule.before_training = flag("before_training", false);
  rule.last_words = flag("last_words", false);
  rule.exceptions = flag("exceptions", false);
  rule.certain = flag("certain", true);
  const auto read_patterns = [&](const char* key, std::vector<std::string>& patterns) {
    if (!node[key]) return;
    for (const YAML::Node& item : items_of(node[key])) {
      patterns.push_back(value_of<std::string>(item, key, "text or a list of texts"));
      PatternSet probe;
      if (!probe.add(patterns.back(), rule.fold_case, 0))
        bad(item, fmt::format("rule '{}': '{}' matches nearly every line; give it three letters "
                              "between wildcards",
                              rule.name, patterns.back()));
    }
  };
  read_patterns("match", rule.match);
  rule.of_nccl = speaks_of_nccl(rule);
  read_patterns("frame", rule.frame);
  if (node["code"])
    for (const YAML::Node& item : items_of(node["code"]))
      rule.codes.push_back(count_of(item, "code"));
  if (node["signal"]) {
    for (const YAML::Node& item : items_of(node["signal"])) {
      const auto name = value_of<std::string>(item, "signal", "a signal's name such as SIGSEGV");
      const auto number = parse_signal(name);
      if (!number) bad(item, fmt::format("rule '{}': there is no signal '{}'", rule.name, name));
      rule.signals.push_back(*number);
    }
  }
  if (rule.match.empty() && rule.frame.empty() && rule.codes.empty() && rule.signals.empty() &&
      !rule.exceptions)
    bad(node, fmt::format("rule '{}' needs match, frame, code, signal or exceptions", rule.name));
  if (node["retries"]) written.retries = count_of(node["retries"], "retries");
  if (node["repeat_ends"]) written.repeat_ends = flag("repeat_ends", false);
  if (node["needs_progress"]) written.needs_progress = flag("needs_progress", false);
  if (node["advice"]) rule.advice = value_of<std::string>(node["advice"], "advice", "text");
  return written;
}

void read_kinds(const YAML::Node& node, Written& written) {
  if (!node.IsMap()) bad(node, "'kinds' must be a map");
  std::set<CauseKind> seen;
  for (const auto& entry : node) {
    const auto name = entry.first.as<std::string>();
    const auto kind = parse_cause_kind(name);
    if (!kind) bad(entry.first, fmt::format("there is no kind '{}'", name));
    if (!seen.insert(*kind).second) bad(entry.first, fmt::format("kind '{}' is there twice", name));
    check_keys(entry.second, {"retries", "repeat_ends", "needs_progress"},
               fmt::format("kind '{}'", name));
    RetryHabit& habit = written.habits[static_cast<size_t>(*kind)];
    const YAML::Node& value = entry.second;
    if (value["retries"]) habit.retries = count_of(value["retries"], "retries");
    if (value["repeat_ends"])
      habit.repeat_ends = value_of<bool>(value["repeat_ends"], "repeat_ends", "true or false");
    if (value["needs_progress"])
      habit.needs_progress =
          value_of<bool>(value["needs_progress"], "needs_progress", "true or false");
  }
}

/// Reads a table on top of the habits in `written`.
Status read_table(std::string_view yaml, std::string_view file, Written& written) {
  const auto at = [&](const YAML::Mark& mark, std::string_view message) {
    return fail(Error::Kind::kUsage, "{}:{}:{}: {}", file, mark.line + 1, mark.column + 1, message);
  };
  try {
    const YAML::Node root = YAML::Load(std::string(yaml));
    check_keys(root, {"kinds", "rules"}, "the table of causes");
    if (root["kinds"]) read_kinds(root["kinds"], written);
    if (!root["rules"]) return {};
    if (!root["rules"].IsSequence()) bad(root["rules"], "'rules' must be a list");
    std::set<std::string> names;
    for (const YAML::Node& node : root["rules"]) {
      written.rules.push_back(read_rule(node));
      if (!names.insert(written.rules.back().rule.name).second)
        bad(node, fmt::format("rule '{}' is there twice", written.rules.back().rule.name));
    }
    return {};
  } catch (const BadTable& error) {
    return at(error.mark, error.message);
  } catch (const YAML::Exception& error) {
    return at(error.mark, error.msg);
  }
}

}  // namespace

std::string_view to_string(CauseKind kind) {
  return kNames[static_cast<size_t>(kind)];
}

std::optional<CauseKind> parse_cause_kind(std::string_view name) {
  const auto found = std::find(kNames.begin(), kNames.end(), name);
  if (found == kNames.end()) return std::nullopt;
  return static_cast<CauseKind>(found - kNames.begin());
}

struct CauseRules::Table {
  Written written;
  std::vector<CauseRule> rules;
  PatternSet patterns;
  PatternSet frame_patterns;

  explicit Table(Written from) : written(std::move(from)) {
    for (const WrittenRule& source : written.rules) {
      CauseRule rule = source.rule;
      rule.habit = written.habits[static_cast<size_t>(rule.kind)];
      if (source.retries) rule.habit.retries = *source.retries;
      rule.habit.pinned = source.retries == 0;
      if (source.repeat_ends) rule.habit.repeat_ends = *source.repeat_ends;
      if (source.needs_progress) rule.habit.needs_progress = *source.needs_progress;
      for (const std::string& pattern : rule.match)
        patterns.add(pattern, rule.fold_case, rules.size());
      for (const std::string& pattern : rule.frame)
        frame_patterns.add(pattern, rule.fold_case, rules.size());
      rules.push_back(std::move(rule));
    }
    patterns.compile();
    frame_patterns.compile();
  }
};

Result<CauseRules> CauseRules::parse(std::string_view yaml, std::string_view file) {
  Written written;
  if (auto read = read_table(yaml, file, written); !read) return fail(std::move(read).error());
  return CauseRules(std::make_shared<const Table>(std::move(written)));
}

CauseRules CauseRules::built_in() {
  return CauseRules(nullptr);
}

const CauseRules::Table& CauseRules::table() const {
  if (table_) return *table_;
  static const CauseRules built_in = [] {
    auto rules = parse(kBuiltInCauseRules, "configs/causes.yaml");
    // A test loads the table; a binary with a bad one is not built twice.
    if (!rules) throw std::logic_error(rules.error().message);
    return *std::move(rules);
  }();
  return *built_in.table_;
}

Result<CauseRules> CauseRules::with(std::string_view yaml, std::string_view file) const {
  Written written;
  written.habits = table().written.habits;
  if (auto read = read_table(yaml, file, written); !read) return fail(std::move(read).error());
  const size_t added = written.rules.size();
  for (const WrittenRule& ours : table().written.rules) {
    const bool replaced = std::any_of(
        written.rules.begin(), written.rules.begin() + static_cast<std::ptrdiff_t>(added),
        [&](const WrittenRule& theirs) { return theirs.rule.name == ours.rule.name; });
    if (!replaced) written.rules.push_back(ours);
  }
  return CauseRules(std::make_shared<const Table>(std::move(written)));
}

const std::vector<CauseRule>& CauseRules::rules() const {
  return table().rules;
}
const RetryHabit& CauseRules::habit(CauseKind kind) const {
  return table().written.habits[static_cast<size_t>(kind)];
}
const PatternSet& CauseRules::patterns() const {
  return table().patterns;
}
const PatternSet& CauseRules::frame_patterns() const {
  return table().frame_patterns;
}

}  // namespace megalaunch
