"""The arguments of every command, as its parser has them."""

import argparse
import importlib
from pathlib import Path
from typing import NamedTuple

from pipeline.cli.main import ALIASES, COMMANDS

FILE_METAVARS = frozenset({"FILE", "DIR", "OLD", "NEW"})
"""Metavars of arguments that name a file or directory."""


class Argument(NamedTuple):
    """An option with its names, or a positional argument, which has none."""

    names: tuple[str, ...]
    label: str
    help: str
    takes_value: bool
    is_repeatable: bool
    choices: tuple[str, ...]
    is_file: bool


class Command(NamedTuple):
    """A command with its aliases."""

    names: tuple[str, ...]
    summary: str
    arguments: tuple[Argument, ...]

    @property
    def options(self) -> list[Argument]:
        """The arguments that have names."""
        return [argument for argument in self.arguments if argument.names]

    @property
    def positionals(self) -> list[Argument]:
        """The arguments without a name."""
        return [argument for argument in self.arguments if not argument.names]


class _Parser(argparse.ArgumentParser):
    def arguments(self) -> tuple[Argument, ...]:
        return tuple(self._argument(action) for action in self._actions)

    def _argument(self, action: argparse.Action) -> Argument:
        label = str(action.metavar or action.dest)
        alternatives = label.split("|") if "|" in label else []  # kafka|DIR
        return Argument(
            tuple(action.option_strings),
            label,
            (action.help or "") % {**vars(action), "prog": self.prog},
            action.nargs != 0,
            action.nargs in {"*", "+"} or isinstance(action.default, list),
            tuple(str(choice) for choice in action.choices or [word for word in alternatives if word.islower()]),
            action.type is Path or action.dest == "file" or not FILE_METAVARS.isdisjoint([label, *alternatives]),
        )


def all_commands() -> list[Command]:
    """Return every command; this imports the modules of all of them."""
    return [_command(name) for name in COMMANDS]


def _command(name: str) -> Command:
    module, summary = COMMANDS[name]
    parser = _Parser(prog=f"crisp {name}")
    importlib.import_module(module).add_arguments(parser)
    aliases = [alias for alias, meant in ALIASES.items() if meant == name]
    return Command((name, *aliases), summary, parser.arguments())
