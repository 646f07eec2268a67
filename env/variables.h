#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace megalaunch {

/// A set of environment variables by value, so that nothing below main() reads the process's own.
/// Ordered by name.
class Variables {
 public:
  Variables() = default;
  explicit Variables(std::map<std::string, std::string> values) : values_(std::move(values)) {}

  /// A copy of this process's environment. Entries without '=' are dropped; the first of two equal
  /// names wins.
  static Variables of_this_process();

  /// The value, or nothing when the variable is not set. An empty value is a value.
  std::optional<std::string> get(std::string_view name) const;
  /// The value, or nothing when the variable is not set or empty (what most platform variables mean
  /// by empty).
  std::optional<std::string> get_nonempty(std::string_view name) const;

  void set(std::string name, std::string value) { values_[std::move(name)] = std::move(value); }
  void unset(const std::string& name) { values_.erase(name); }

  const std::map<std::string, std::string>& all() const { return values_; }
  /// As `NAME=VALUE` strings, the form that execve takes.
  std::vector<std::string> to_strings() const;

 private:
  std::map<std::string, std::string> values_;
};

}  // namespace megalaunch
