"""Completion for zsh. Source: the manual of zsh, Completion System, `_arguments` and `_describe`."""

import re
from shlex import quote

from pipeline.cli.completion.arguments import Argument, Command

_HEAD = """#compdef crisp
# Completion of crisp for zsh: source <(crisp completion zsh), after compinit; or as the file _crisp in $fpath
_crisp() {
    if ((CURRENT == 2)); then
        local -a commands
        commands=(
"""
_MIDDLE = """        )
        _describe command commands
        return
    fi
    local command=$words[2]
    shift words
    ((CURRENT--))
    case $command in
"""
_TAIL = """    esac
}
if [[ $funcstack[1] == _crisp ]]; then
    _crisp "$@"
else
    compdef _crisp crisp
fi
"""


def script(commands: list[Command]) -> str:
    """Return the script that zsh evaluates, or loads as a function."""
    described = [f"            {quote(f'{command.names[0]}:{command.summary}')}" for command in commands]
    cases = []
    for command in commands:
        specs = [spec for argument in command.arguments for spec in _specs(argument)]
        cases += [f"    {'|'.join(command.names)})", "        _arguments \\"]
        cases += [f"            {quote(spec)} \\" for spec in specs[:-1]]
        cases += [f"            {quote(specs[-1])}", "        ;;"]
    return _HEAD + "\n".join(described) + "\n" + _MIDDLE + "\n".join(cases) + "\n" + _TAIL


def _specs(argument: Argument) -> list[str]:
    """Return the specifications of an argument: one for each name, or one of a positional argument."""
    value = f":{_escape(argument.label)}:{_action(argument)}"
    if not argument.names:
        return [("*" if argument.is_repeatable else ":") + value]
    others = "" if argument.is_repeatable else f"({' '.join(argument.names)})"
    start = "*" if argument.is_repeatable else ""
    end = f"[{_escape(argument.help)}]{value if argument.takes_value else ''}"
    return [f"{others}{start}{name}{_equals(name, argument)}{end}" for name in argument.names]


def _equals(name: str, argument: Argument) -> str:
    """`=` after a long option: its value is the next word, or follows a `=`."""
    return "=" if argument.takes_value and name.startswith("--") else ""


def _action(argument: Argument) -> str:
    choices = " ".join(argument.choices)
    if choices:
        return f"{{compadd {choices}; _files}}" if argument.is_file else f"({choices})"
    return "_files" if argument.is_file else " "


def _escape(text: str) -> str:
    return re.sub(r"([\\\[\]:])", r"\\\1", text)
