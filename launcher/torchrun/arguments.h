#pragma once

#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "env/result.h"
#include "env/variables.h"

namespace megalaunch {

/// One option of a command line in the syntax of Python's argparse.
struct ArgumentSpec {
  enum class Takes { kNothing, kText, kInteger, kNumber };
  std::string_view name;  ///< with dashes: "nproc-per-node"; "nproc_per_node" is the same option
  char letter = 0;        ///< 'r' for -r; 0: none
  Takes takes = Takes::kText;
  std::string_view initial;               ///< the value when nobody gives one
  std::vector<std::string_view> choices;  ///< of a value on the command line; empty: any
  bool from_environment = true;           ///< PET_<NAME> stands in for the option
  std::string_view value_name;
  std::string_view help;
  bool is_question = false;  ///< asks for an answer instead of a run, as --help does
};

/// A command line taken apart.
struct ParsedArguments {
  std::map<std::string, std::string, std::less<>>
      values;                                ///< by name: given, from PET_*, or initial
  std::set<std::string, std::less<>> given;  ///< names on the command line or in PET_*
  std::string script;
  std::vector<std::string> script_args;
  std::string question;  ///< the name of an option that is one, or "help"; nothing behind it was
                         ///< looked at, and only its own value is there

  /// The value of an option that the specs have.
  const std::string& text(std::string_view name) const { return values.find(name)->second; }
  int64_t integer(std::string_view name) const;
  bool flag(std::string_view name) const { return text(name) == "1"; }
};

/// Parses `args` (without the program's name) as argparse does for options followed by a script and
/// whatever the script gets: an option's value behind a blank or `=`, letters with their value
/// attached, unambiguous beginnings of long names, `--` before the script; a number such as -1 is a
/// value. Command line over PET_<NAME> over the initial value. Unlike argparse it does not look at
/// what stands behind the script, and takes a beginning that fits both spellings of one option.
/// Errors are kUsage.
Result<ParsedArguments> parse_arguments(std::span<const ArgumentSpec> specs,
                                        const std::vector<std::string>& args,
                                        const Variables& environment);

/// A whole number as Python's int() reads it: blanks around, a sign, single underscores between
/// digits.
std::optional<int64_t> python_integer(std::string_view text);

/// The specs as a help text, one option after the other.
std::string describe_arguments(std::span<const ArgumentSpec> specs);

}  // namespace megalaunch
