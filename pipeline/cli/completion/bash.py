"""Completion for bash, 3.2 and later. Source: the manual of bash, Programmable Completion."""

from shlex import quote

from pipeline.cli.completion.arguments import Argument, Command

_HEAD = """# Completion of crisp for bash: source <(crisp completion bash)
_crisp() {
    local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
    local words='' options='' files=''
    COMPREPLY=()
    # bash divides --option=value at the =, which is a word of its own.
    if [[ $word == '=' ]]; then
        word=''
    elif [[ $previous == '=' ]]; then
        previous=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    if ((COMP_CWORD == 1)); then
"""
_TAIL = """        esac
    fi
    if [[ $options && ($word == -* || ! $words$files) ]]; then
        words=$options files=''
    fi
    COMPREPLY=($(compgen -W "$words" -- "$word"))
    if [[ $files ]]; then
        local IFS=$'\\n'
        compopt -o filenames 2>/dev/null
        COMPREPLY+=($(compgen -f -- "$word"))
    fi
}
complete -F _crisp crisp
"""


def script(commands: list[Command]) -> str:
    """Return the script that bash evaluates."""
    names = " ".join(["--help", "--version", *(command.names[0] for command in commands)])
    lines = [f"        words={quote(names)}", "    else", "        case ${COMP_WORDS[1]} in"]
    for command in commands:
        lines += [f"        {'|'.join(command.names)})", "            case $previous in"]
        lines += [
            f"            {'|'.join(option.names)}) {_values([option])} ;;"
            for option in command.options
            if option.takes_value
        ]
        options = " ".join(name for option in command.options for name in option.names)
        lines += [
            f"            *) options={quote(options)} {_values(command.positionals)} ;;",
            "            esac",
            "            ;;",
        ]
    return _HEAD + "\n".join(lines) + "\n" + _TAIL


def _values(arguments: list[Argument]) -> str:
    words = " ".join(choice for argument in arguments for choice in argument.choices)
    return f"words={quote(words)}" + (" files=yes" if any(argument.is_file for argument in arguments) else "")
