#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace megalaunch {

/// Where something was written. Lines and columns count from 1; 0 is unknown (then `source` says
/// all there is to say).
struct Place {
  std::string_view source;  ///< a file name or a `--set a.b=c` flag; owned by the Document
  int line = 0;
  int column = 0;
};

/// One complaint about a text, with its place.
struct Complaint {
  Place place;
  std::string key;  ///< full name of the key at fault; may be empty
  std::string message;
};

/// One node of a YAML text, as written: scalars are not interpreted, so that `1e-5` stays `1e-5`.
struct YamlNode {
  enum class Kind { kNull, kScalar, kList, kMap };
  struct Entry;

  Kind kind = Kind::kNull;
  Place place;
  std::string text;     ///< of a scalar
  bool quoted = false;  ///< of a scalar: written in quotes, so never a number, a boolean or null
  std::vector<YamlNode> items;  ///< of a list
  std::vector<Entry> entries;   ///< of a map, in the order of the file, each name once

  bool is_null() const { return kind == Kind::kNull; }
  bool is_map() const { return kind == Kind::kMap; }
  /// The value under `name`, or null when this is no map or has no such key.
  const YamlNode* find(std::string_view name) const;
  YamlNode* find(std::string_view name);
};

struct YamlNode::Entry {
  std::string name;
  Place place;
  YamlNode value;
};

/// A parsed YAML text of one document. Stricter than YAML: duplicate keys, aliases and keys that
/// are not plain words are complaints, because a person who writes them is about to be surprised.
/// Never throws; sizes are bounded by the text.
struct Document {
  YamlNode root;
  std::vector<Complaint> complaints;  ///< empty: `root` is the whole text
};

/// `source` names the text in messages and must outlive the document.
Document parse_yaml(const std::string& text, std::string_view source);

/// "map", "list", "text" or "nothing", as a message calls it.
std::string_view kind_name(const YamlNode& node);

}  // namespace megalaunch
