#include "launcher/job/document.h"

#include <fmt/core.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <optional>
#include <sstream>

namespace megalaunch {
namespace {

bool means_null(std::string_view text) {
  return text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL";
}

std::string_view line_of(std::string_view text, int line) {
  for (; line > 1 && !text.empty(); --line)
    text.remove_prefix(std::min(text.find('\n'), text.size() - 1) + 1);
  return text.substr(0, text.find('\n'));
}

/// Builds the tree from the parser's events. yaml-cpp's own tree keeps the first of two equal keys
/// and says nothing.
class TreeBuilder final : public YAML::EventHandler {
 public:
  TreeBuilder(std::string_view source, Document& document) : source_(source), document_(document) {}

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents_ > 1) complain(place(mark), "a second document ('---'); a file holds one");
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t) override {
    YamlNode node;
    node.place = place(mark);
    add(std::move(node));
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    complain(place(mark), "an alias ('*name') is not supported; write the value out");
    OnNull(mark, 0);
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t,
                const std::string& value) override {
    YamlNode node;
    node.place = place(mark);
    node.text = value;
    node.quoted = tag == "!";
    const bool is_null = !node.quoted && means_null(value);
    node.kind = is_null ? YamlNode::Kind::kNull : YamlNode::Kind::kScalar;
    add(std::move(node));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {
    open(mark, YamlNode::Kind::kList);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t,
                  YAML::EmitterStyle::value) override {
    open(mark, YamlNode::Kind::kMap);
  }
  void OnMapEnd() override { close(); }

 private:
  struct Open {
    YamlNode node;
    std::optional<std::pair<std::string, Place>> key;  ///< of a map: the key whose value comes next
    bool has_key = false;                              ///< a key was read, usable or not
  };

  Place place(const YAML::Mark& mark) const { return {source_, mark.line + 1, mark.column + 1}; }

  void complain(Place where, std::string message) {
    document_.complaints.push_back({where, "", std::move(message)});
  }

  void open(const YAML::Mark& mark, YamlNode::Kind kind) {
    Open level;
    level.node.kind = kind;
    level.node.place = place(mark);
    stack_.push_back(std::move(level));
  }

  void close() {
    YamlNode node = std::move(stack_.back().node);
    stack_.pop_back();
    add(std::move(node));
  }

  void add(YamlNode node) {
    if (stack_.empty()) {
      document_.root = std::move(node);
      return;
    }
    Open& parent = stack_.back();
    if (parent.node.kind == YamlNode::Kind::kList) {
      parent.node.items.push_back(std::move(node));
    } else if (!parent.has_key) {
      take_key(parent, node);
    } else {
      if (parent.key)
        parent.node.entries.push_back({parent.key->first, parent.key->second, std::move(node)});
      parent.key.reset();
      parent.has_key = false;
    }
  }

  void take_key(Open& map, const YamlNode& node) {
    map.has_key = true;
    if (node.kind != YamlNode::Kind::kScalar) {
      complain(node.place, fmt::format("a key must be a word, not {}", kind_name(node)));
      return;
    }
    for (const auto& earlier : map.node.entries) {
      if (earlier.name != node.text) continue;
      complain(node.place, fmt::format("duplicate key '{}': the first is in line {}", node.text,
                                       earlier.place.line));
      document_.complaints.back().key = node.text;
      return;
    }
    map.key.emplace(node.text, node.place);
  }

  std::string_view source_;
  Document& document_;
  std::vector<Open> stack_;
  int documents_ = 0;
};

}  // namespace

const YamlNode* YamlNode::find(std::string_view name) const {
  const auto found = std::find_if(entries.begin(), entries.end(),
                                  [&](const Entry& entry) { return entry.name == name; });
  return found == entries.end() ? nullptr : &found->value;
}

YamlNode* YamlNode::find(std::string_view name) {
  return const_cast<YamlNode*>(std::as_const(*this).find(name));
}

Document parse_yaml(const std::string& text, std::string_view source) {
  Document document;
  TreeBuilder builder(source, document);
  try {
    std::istringstream stream(text);
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const YAML::Exception& error) {
    const Place where{source, error.mark.line + 1, error.mark.column + 1};
    const bool has_variable = line_of(text, where.line).find("${") != std::string_view::npos;
    document.complaints.push_back(
        {where, "",
         fmt::format("this is not YAML: {}{}", error.msg,
                     has_variable ? "; inside [ ] and { } a value with ${NAME} has braces of its "
                                    "own: put it in quotes"
                                  : "")});
  }
  return document;
}

std::string_view kind_name(const YamlNode& node) {
  switch (node.kind) {
    case YamlNode::Kind::kNull:
      return "nothing";
    case YamlNode::Kind::kScalar:
      return "text";
    case YamlNode::Kind::kList:
      return "a list";
    case YamlNode::Kind::kMap:
      return "a map";
  }
  return "";
}

}  // namespace megalaunch
