"""`crisp completion SHELL`: print the completion script of a shell."""

import argparse

from pipeline.cli.completion import bash, fish, zsh
from pipeline.cli.completion.arguments import all_commands

EXAMPLE = """examples:
  source <(crisp completion bash)
  source <(crisp completion zsh)
  crisp completion fish | source

The first two lines belong into ~/.bashrc or ~/.zshrc (after compinit), the third into ~/.config/fish/config.fish."""
SHELLS = {"bash": bash.script, "zsh": zsh.script, "fish": fish.script}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("shell", choices=tuple(SHELLS), help="the shell whose script is printed")


def run(args: argparse.Namespace) -> int:
    """Print the script; return 0."""
    print(SHELLS[args.shell](all_commands()), end="")
    return 0
