"""The rules file that the settings name, read from disk."""

from functools import partial
from pathlib import Path

from pipeline.config import routes
from pipeline.config.settings import Settings
from pipeline.errors import RulesError
from pipeline.rules import python_hook
from pipeline.rules.context import World
from pipeline.rules.parser import Read, read
from pipeline.rules.ruleset import Ruleset


def load(settings: Settings) -> Ruleset | None:
    """The rules in force, None where the settings name no file. Raises RulesError with every fault."""
    return examine(settings).ruleset if settings.rules_file else None


def examine(settings: Settings) -> Read:
    """The file with its tests and warnings. Raises RulesError with every fault."""
    made = parsed(contents(settings), settings)
    if made.faults:
        raise RulesError(made.faults)
    return made


def contents(settings: Settings) -> bytes:
    """The bytes of the file. Raises RulesError."""
    try:
        return Path(settings.rules_file).read_bytes()
    except OSError as fault:
        raise RulesError([f"{settings.rules_file}: the rules cannot be read: {fault.strerror}"]) from fault


def parsed(text: bytes, settings: Settings) -> Read:
    """A text as the settings' rules file."""
    hooks = partial(python_hook.find, settings.rules_python_dir)
    world = World(tuple(routes.read(settings.routes)), settings.field_limit, hooks)
    return read(text, settings.rules_file, world)
