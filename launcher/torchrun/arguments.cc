#include "launcher/torchrun/arguments.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <optional>

namespace megalaunch {
namespace {

using Takes = ArgumentSpec::Takes;

std::string underscored(std::string_view name) {
  std::string text(name);
  std::replace(text.begin(), text.end(), '-', '_');
  return text;
}

std::string variable_name(const ArgumentSpec& spec) {
  std::string text = "PET_" + underscored(spec.name);
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return text;
}

/// "-1" and "-.5" are values, not options.
bool looks_like_negative_number(std::string_view text) {
  if (text.size() < 2 || text[0] != '-') return false;
  text.remove_prefix(1);
  const size_t point = text.find('.');
  const auto digits = [](std::string_view part) {
    return std::all_of(part.begin(), part.end(), [](char c) { return c >= '0' && c <= '9'; });
  };
  if (point == text.npos) return digits(text);
  return digits(text.substr(0, point)) && point + 1 < text.size() && digits(text.substr(point + 1));
}

bool looks_like_option(std::string_view text) {
  return text.size() > 1 && text[0] == '-' && !looks_like_negative_number(text) &&
         text.find(' ') == text.npos;
}

bool is_number(const std::string& text) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  return end != text.c_str() && *end == '\0' && !std::isnan(value);
}

/// How messages name an option, such as "-r/--redirects".
std::string shown(const ArgumentSpec& spec) {
  return spec.letter == 0 ? fmt::format("--{}", spec.name)
                          : fmt::format("-{}/--{}", spec.letter, spec.name);
}

Status check_value(const ArgumentSpec& spec, const std::string& value, const std::string& where) {
  if (spec.takes == Takes::kInteger && !value.empty() && !python_integer(value))
    return fail(Error::Kind::kUsage, "argument {}: '{}'{} is not a whole number", shown(spec),
                value, where);
  if (spec.takes == Takes::kNumber && !is_number(value))
    return fail(Error::Kind::kUsage, "argument {}: '{}'{} is not a number", shown(spec), value,
                where);
  if (spec.takes == Takes::kNothing && !python_integer(value))
    return fail(Error::Kind::kUsage, "argument {}: '{}'{} must be 0 or 1", shown(spec), value,
                where);
  return {};
}

/// The parse itself: a place in the arguments, and what was found so far.
class Parser {
 public:
  Parser(std::span<const ArgumentSpec> specs, const std::vector<std::string>& args)
      : specs_(specs), args_(args) {}

  Result<ParsedArguments> parse() {
    while (at_ < args_.size() && found_.question.empty()) {
      const std::string& arg = args_[at_];
      if (arg == "--" || !looks_like_option(arg)) return take_script();
      ++at_;
      if (auto status = arg.starts_with("--") ? take_long(arg) : take_letters(arg); !status)
        return fail(std::move(status).error());
    }
    if (found_.question.empty())
      return fail(Error::Kind::kUsage,
                  "the script is missing: the following arguments are required: training_script");
    return std::move(found_);
  }

 private:
  Result<ParsedArguments> take_script() {
    if (args_[at_] == "--") ++at_;
    if (at_ == args_.size())
      return fail(Error::Kind::kUsage,
                  "the script is missing: the following arguments are required: training_script");
    found_.script = args_[at_++];
    // argparse lets one `--` right behind the script vanish.
    if (at_ < args_.size() && args_[at_] == "--") ++at_;
    found_.script_args.assign(args_.begin() + static_cast<ptrdiff_t>(at_), args_.end());
    return std::move(found_);
  }

  Status take_long(const std::string& arg) {
    const size_t equals = arg.find('=');
    const std::string name = arg.substr(2, equals == arg.npos ? equals : equals - 2);
    auto spec = find_long(name);
    if (!spec) return fail(std::move(spec).error());
    if (*spec == nullptr) {
      found_.question = "help";
      return {};
    }
    std::optional<std::string> attached;
    if (equals != arg.npos) attached = arg.substr(equals + 1);
    return take_value(**spec, std::move(attached));
  }

  /// Null stands for --help.
  Result<const ArgumentSpec*> find_long(const std::string& name) const {
    std::vector<const ArgumentSpec*> begins;
    for (const ArgumentSpec& spec : specs_) {
      const std::string other = underscored(spec.name);
      if (spec.name == name || other == name) return &spec;
      if (spec.name.starts_with(name) || other.starts_with(name)) begins.push_back(&spec);
    }
    if (name == "help") return nullptr;
    const bool help_too = !name.empty() && std::string_view("help").starts_with(name);
    if (begins.size() + (help_too ? 1 : 0) == 1) return help_too ? nullptr : begins[0];
    if (begins.empty() && !help_too)
      return fail(Error::Kind::kUsage, "unrecognized arguments: --{}", name);
    std::string all;
    for (const ArgumentSpec* spec : begins)
      all += fmt::format("{}--{}", all.empty() ? "" : ", ", spec->name);
    return fail(Error::Kind::kUsage, "ambiguous option: --{} could match {}{}", name, all,
                help_too ? ", --help" : "");
  }

  /// "-r3", "-mr3", "-r" "3".
  Status take_letters(const std::string& arg) {
    for (size_t i = 1; i < arg.size(); ++i) {
      if (arg[i] == 'h') {
        found_.question = "help";
        return {};
      }
      const auto spec = std::find_if(specs_.begin(), specs_.end(), [&](const ArgumentSpec& each) {
        return each.letter != 0 && each.letter == arg[i];
      });
      if (spec == specs_.end()) return fail(Error::Kind::kUsage, "unrecognized arguments: {}", arg);
      if (spec->takes == Takes::kNothing) {
        if (auto status = take_value(*spec, std::nullopt); !status) return status;
        continue;
      }
      std::optional<std::string> attached;
      if (i + 1 < arg.size()) attached = arg.substr(arg[i + 1] == '=' ? i + 2 : i + 1);
      return take_value(*spec, std::move(attached));
    }
    return {};
  }

  Status take_value(const ArgumentSpec& spec, std::optional<std::string> attached) {
    std::string value = "1";
    if (spec.takes == Takes::kNothing) {
      if (attached)
        return fail(Error::Kind::kUsage, "argument {}: ignored explicit argument '{}'", shown(spec),
                    *attached);
    } else if (attached) {
      value = std::move(*attached);
    } else {
      if (at_ == args_.size() || args_[at_] == "--" || looks_like_option(args_[at_]))
        return fail(Error::Kind::kUsage, "argument {}: expected one argument", shown(spec));
      value = args_[at_++];
    }
    if (spec.takes == Takes::kInteger && value.empty())
      return fail(Error::Kind::kUsage, "argument {}: '' is not a whole number", shown(spec));
    if (auto status = check_value(spec, value, ""); !status) return status;
    if (!spec.choices.empty() &&
        std::find(spec.choices.begin(), spec.choices.end(), value) == spec.choices.end())
      return fail(Error::Kind::kUsage, "argument {}: invalid choice: '{}' (choose from {})",
                  shown(spec), value, fmt::join(spec.choices, ", "));
    found_.values[std::string(spec.name)] = std::move(value);
    found_.given.emplace(spec.name);
    if (spec.is_question) found_.question = spec.name;
    return {};
  }

  std::span<const ArgumentSpec> specs_;
  const std::vector<std::string>& args_;
  size_t at_ = 0;
  ParsedArguments found_;
};

}  // namespace

int64_t ParsedArguments::integer(std::string_view name) const {
  return python_integer(text(name)).value_or(0);
}

std::optional<int64_t> python_integer(std::string_view text) {
  const auto blank = [](char c) { return c == ' ' || (c >= '\t' && c <= '\r'); };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  std::string digits;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_')
      digits += text[i];
    else if (i == 0 || i + 1 == text.size() || text[i - 1] == '_')
      return std::nullopt;
  }
  int64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (digits.empty() || digits[0] == '-' || error != std::errc() ||
      end != digits.data() + digits.size())
    return std::nullopt;
  return negative ? -value : value;
}

Result<ParsedArguments> parse_arguments(std::span<const ArgumentSpec> specs,
                                        const std::vector<std::string>& args,
                                        const Variables& environment) {
  auto parsed = Parser(specs, args).parse();
  if (!parsed || !parsed->question.empty()) return parsed;
  for (const ArgumentSpec& spec : specs) {
    const std::string name(spec.name);
    if (parsed->values.contains(name)) continue;
    std::string value(spec.initial);
    if (spec.takes == Takes::kNothing) value = "0";
    const std::string variable = variable_name(spec);
    if (const auto from = environment.get(variable); from && spec.from_environment) {
      value = *from;
      parsed->given.insert(name);
      if (auto status = check_value(spec, value, fmt::format(" (from {})", variable)); !status)
        return fail(std::move(status).error());
      if (spec.takes == Takes::kNothing) value = python_integer(value) != 0 ? "1" : "0";
    }
    parsed->values[name] = std::move(value);
  }
  return parsed;
}

std::string describe_arguments(std::span<const ArgumentSpec> specs) {
  std::string text;
  for (const ArgumentSpec& spec : specs) {
    text += spec.letter == 0 ? "  " : fmt::format("  -{}, ", spec.letter);
    text += fmt::format("--{}{}{}\n      {}\n", spec.name, spec.value_name.empty() ? "" : " ",
                        spec.value_name, spec.help);
  }
  return text;
}

}  // namespace megalaunch
