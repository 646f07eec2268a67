# Completion for bash: `source scripts/completion.bash`, or put it into /etc/bash_completion.d/megalaunch.
# It asks the binary's own --help, so it knows what that version knows.

_megalaunch() {
    local word=${COMP_WORDS[COMP_CWORD]} binary=${COMP_WORDS[0]} help command="" words
    (( COMP_CWORD > 1 )) && command=${COMP_WORDS[1]}
    help=$("$binary" ${command:+"$command"} --help 2>/dev/null) || return

    if [[ -z $command ]]; then
        words=$(sed -n '/^Subcommands:/,$ s/^  \([a-z]\+\) .*/\1/p' <<<"$help")
    else
        words=""
    fi
    words+=" $(grep -oE '(^ *|,)--?[a-z][a-z-]*' <<<"$help" | grep -oE -- '--[a-z-]+')"
    if [[ $word == -* || -z $command ]]; then
        COMPREPLY=($(compgen -W "$words" -- "$word"))
    else
        COMPREPLY=($(compgen -f -- "$word"))
        compopt -o filenames 2>/dev/null
    fi
}
complete -F _megalaunch megalaunch
