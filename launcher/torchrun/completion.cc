#include "launcher/torchrun/completion.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace megalaunch {
namespace {

bool takes_value(const ArgumentSpec& spec) {
  return spec.takes != ArgumentSpec::Takes::kNothing;
}

std::string long_names(std::span<const ArgumentSpec> specs) {
  std::string names = "--help";
  for (const ArgumentSpec& spec : specs) names += fmt::format(" --{}", spec.name);
  return names;
}

std::string bash_script(std::span<const ArgumentSpec> specs) {
  std::string choices, valued;
  for (const ArgumentSpec& spec : specs) {
    if (!spec.choices.empty())
      choices +=
          fmt::format("        --{}) COMPREPLY=($(compgen -W '{}' -- \"$word\")); return ;;\n",
                      spec.name, fmt::join(spec.choices, " "));
    if (takes_value(spec)) valued += fmt::format("{}--{}", valued.empty() ? "" : "|", spec.name);
    if (takes_value(spec) && spec.letter != 0) valued += fmt::format("|-{}", spec.letter);
  }
  return fmt::format(
      R"(# bash completion for torchrun: source <(torchrun --print-completion bash)
_torchrun() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} option=${{COMP_WORDS[COMP_CWORD-1]//_/-}} i
    # What stands behind the script is the script's.
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${{COMP_WORDS[i]//_/-}} in
            {}) ((i++)) ;;
            -*|=) ;;
            *) COMPREPLY=($(compgen -f -- "$word")); compopt -o filenames 2>/dev/null; return ;;
        esac
    done
    case $option in
{}    esac
    if [[ $word == -* ]]; then
        COMPREPLY=($(compgen -W '{}' -- "${{word//_/-}}"))
    else
        COMPREPLY=($(compgen -f -- "$word"))
        compopt -o filenames 2>/dev/null
    fi
}}
complete -F _torchrun torchrun
)",
      valued, choices, long_names(specs));
}

/// `text` inside single quotes, in a place where _arguments reads brackets and colons.
std::string zsh_text(std::string_view text) {
  std::string quoted;
  for (const char c : text) {
    if (c == '\'') {
      quoted += "'\\''";
      continue;
    }
    if (c == '[' || c == ']' || c == ':' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted;
}

std::string zsh_script(std::span<const ArgumentSpec> specs) {
  std::string rows = "        '(- *)'{-h,--help}'[Print the options and end.]'";
  for (const ArgumentSpec& spec : specs) {
    std::string value;
    if (takes_value(spec))
      value = fmt::format(
          ":{}:{}", zsh_text(spec.value_name),
          spec.choices.empty() ? "" : fmt::format("({})", fmt::join(spec.choices, " ")));
    for (const std::string& name :
         {fmt::format("--{}", spec.name),
          spec.letter == 0 ? std::string() : fmt::format("-{}", spec.letter)})
      if (!name.empty())
        rows += fmt::format(" \\\n        '{}[{}]{}'", name, zsh_text(spec.help), value);
  }
  return fmt::format(
      R"(#compdef torchrun
# zsh completion for torchrun: torchrun --print-completion zsh > ~/.zsh/completions/_torchrun
_torchrun() {{
    _arguments -s -S \
{} \
        '1:script:_files' \
        '*::argument:_files'
}}
if [[ $funcstack[1] == _torchrun ]]; then _torchrun "$@"; else compdef _torchrun torchrun; fi
)",
      rows);
}

std::string tcsh_script(std::span<const ArgumentSpec> specs) {
  std::string choices, names = "help";
  for (const ArgumentSpec& spec : specs) {
    names += fmt::format(" {}", spec.name);
    if (!spec.choices.empty())
      choices += fmt::format(" 'n/--{}/({})/'", spec.name, fmt::join(spec.choices, " "));
  }
  return fmt::format(
      "# tcsh completion for torchrun: eval \"`torchrun --print-completion tcsh`\"\n"
      "complete torchrun{} 'c/--/({})/' 'p/*/f/'\n",
      choices, names);
}

}  // namespace

std::string completion_script(std::span<const ArgumentSpec> specs, std::string_view shell) {
  if (shell == "zsh") return zsh_script(specs);
  if (shell == "tcsh") return tcsh_script(specs);
  return bash_script(specs);
}

}  // namespace megalaunch
