"""Completion for fish. Source: the manual of fish, `complete`."""

from pipeline.cli.completion.arguments import Argument, Command

_HEAD = """# Completion of crisp for fish: crisp completion fish | source
function __crisp_command
    set -l words (commandline -opc)
    set -q words[2]; and contains -- $words[2] $argv
end
function __crisp_no_command
    set -l words (commandline -opc)
    not set -q words[2]
end
complete -c crisp -e
complete -c crisp -f
complete -c crisp -n __crisp_no_command -l help -d 'show the commands'
complete -c crisp -n __crisp_no_command -l version -d 'show the version'
"""


def script(commands: list[Command]) -> str:
    """Return the script that fish evaluates."""
    lines = [
        f"complete -c crisp -n __crisp_no_command -a {command.names[0]} -d {_quote(command.summary)}"
        for command in commands
    ]
    lines += [
        f"complete -c crisp -n {_quote(' '.join(('__crisp_command', *command.names)))} {_argument(argument)}"
        for command in commands
        for argument in command.arguments
        if argument.names or argument.choices or argument.is_file
    ]
    return _HEAD + "\n".join(lines) + "\n"


def _argument(argument: Argument) -> str:
    words = [f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in argument.names]
    if argument.is_file:
        words.append("-r -F" if argument.names else "-F")
    elif argument.names and argument.takes_value:
        words.append("-x")
    if argument.choices:
        words.append(f"-a {_quote(' '.join(argument.choices))}")
    return " ".join([*words, f"-d {_quote(argument.help)}"])


def _quote(text: str) -> str:
    r"""In single quotes of fish, only `\` and `'` are special."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
