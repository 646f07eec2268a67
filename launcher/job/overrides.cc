#include "launcher/job/overrides.h"

#include <fmt/core.h>

#include <algorithm>
#include <optional>

#include "launcher/job/section.h"

namespace megalaunch {
namespace {

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  for (;;) {
    const size_t at = text.find(separator);
    parts.emplace_back(text.substr(0, at));
    if (at == std::string_view::npos) return parts;
    text.remove_prefix(at + 1);
  }
}

/// Gives all nodes of a value the place of the flag that it came from: lines inside a flag help
/// nobody.
void move_to(YamlNode& node, const Place& place) {
  node.place = place;
  for (YamlNode& item : node.items) move_to(item, place);
  for (YamlNode::Entry& entry : node.entries) {
    entry.place = place;
    move_to(entry.value, place);
  }
}

/// One step of a path: the node under `part`, made when `node` is a map without it; null when there
/// cannot be one.
YamlNode* step(YamlNode& node, const std::string& part, const Place& place) {
  if (node.kind == YamlNode::Kind::kList) {
    const auto index = parse_integer(part);
    const bool inside =
        index && *index >= 0 && *index < static_cast<std::int64_t>(node.items.size());
    return inside ? &node.items[static_cast<size_t>(*index)] : nullptr;
  }
  if (node.is_null()) {
    node.kind = YamlNode::Kind::kMap;
    node.place = place;
  }
  if (!node.is_map()) return nullptr;
  if (YamlNode* found = node.find(part)) return found;
  YamlNode made;
  made.place = place;
  node.entries.push_back({part, place, std::move(made)});
  return &node.entries.back().value;
}

bool is_name_character(char c, bool first) {
  return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         (!first && c >= '0' && c <= '9');
}

class Interpolator {
 public:
  Interpolator(const Variables& environment, std::vector<Complaint>& complaints)
      : environment_(environment), complaints_(complaints) {}

  void walk(YamlNode& node, const std::string& name) {
    if (node.kind == YamlNode::Kind::kScalar && node.text.find("${") != std::string::npos) {
      node.text = replace(node, name);
      if (node.text.empty() && !node.quoted) node.kind = YamlNode::Kind::kNull;
    }
    for (YamlNode& item : node.items) walk(item, name);
    for (YamlNode::Entry& entry : node.entries)
      walk(entry.value, name.empty() ? entry.name : fmt::format("{}.{}", name, entry.name));
  }

 private:
  std::string replace(const YamlNode& node, const std::string& name) {
    const std::string_view text = node.text;
    std::string result;
    for (size_t at = 0; at < text.size();) {
      if (text.substr(at, 3) == "$${") {
        result += "${";
        at += 3;
      } else if (text.substr(at, 2) == "${") {
        const size_t close = text.find('}', at);
        if (close == std::string_view::npos) {
          complaints_.push_back(
              {node.place, name, "'${' without its '}'; write '$${' for a plain '${'"});
          return result;
        }
        result += value_of(node, name, text.substr(at + 2, close - at - 2));
        at = close + 1;
      } else {
        result += text[at++];
      }
    }
    return result;
  }

  std::string value_of(const YamlNode& node, const std::string& name, std::string_view expression) {
    size_t length = 0;
    while (length < expression.size() && is_name_character(expression[length], length == 0))
      ++length;
    const std::string variable(expression.substr(0, length));
    const std::string_view rest = expression.substr(length);
    const bool has_default = rest.substr(0, 2) == ":-";
    if (length == 0 || (!rest.empty() && !has_default)) {
      complaints_.push_back(
          {node.place, name,
           fmt::format("'${{{}}}' is not of the form ${{NAME}} or ${{NAME:-default}}; "
                       "write '$${{' for a plain '${{'",
                       expression)});
      return "";
    }
    if (has_default)
      return environment_.get_nonempty(variable).value_or(std::string(rest.substr(2)));
    if (auto value = environment_.get(variable)) return *value;
    complaints_.push_back(
        {node.place, name,
         fmt::format("the environment variable {} is not set; set it, or give a default: "
                     "${{{}:-value}}",
                     variable, variable)});
    return "";
  }

  const Variables& environment_;
  std::vector<Complaint>& complaints_;
};

}  // namespace

void apply_override(Document& document, const std::string& flag,
                    const std::vector<std::string>& top_level_keys) {
  const Place place{flag, 0, 0};
  const size_t equals = flag.find('=');
  if (equals == std::string::npos || equals == 0) {
    document.complaints.push_back({place, "", "expected KEY=VALUE, such as batch.global=512"});
    return;
  }
  const std::string path = flag.substr(0, equals);
  std::vector<std::string> parts = split(path, '.');
  if (std::find(top_level_keys.begin(), top_level_keys.end(), parts.front()) ==
          top_level_keys.end() &&
      document.root.find("megatron") != nullptr)
    parts.insert(parts.begin(), "megatron");

  YamlNode* node = &document.root;
  for (const std::string& part : parts) {
    node = step(*node, part, place);
    if (node != nullptr) continue;
    document.complaints.push_back(
        {place, path, fmt::format("there is no '{}' to set: what is above it is not a map", part)});
    return;
  }
  Document value = parse_yaml(flag.substr(equals + 1), flag);
  for (Complaint& complaint : value.complaints) {
    complaint.place = place;
    complaint.key = path;
    document.complaints.push_back(std::move(complaint));
  }
  move_to(value.root, place);
  *node = std::move(value.root);
}

void interpolate(Document& document, const Variables& environment) {
  Interpolator(environment, document.complaints).walk(document.root, "");
}

}  // namespace megalaunch
