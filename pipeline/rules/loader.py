"""The rules file that the settings name, read from disk."""

from functools import partial
from pathlib import Path

from pipeline.config import routes
from pipeline.config.settings import Settings
from pipeline.errors import RulesError
from pipeline.rules import python_hook
from pipeline.rules.context import RuleContext
from pipeline.rules.parser import ParsedRules, parse_rules_file
from pipeline.rules.ruleset import Ruleset


def load(settings: Settings) -> Ruleset | None:
    """The rules in force, None where the settings name no file. Raises RulesError with every fault."""
    return load_file(settings).ruleset if settings.rules_file else None


def load_file(settings: Settings) -> ParsedRules:
    """The file with its tests and warnings. Raises RulesError with every fault."""
    made = parse(read_bytes(settings), settings)
    if made.problems:
        raise RulesError(made.problems)
    return made


def read_bytes(settings: Settings) -> bytes:
    """The bytes of the file. Raises RulesError."""
    try:
        return Path(settings.rules_file).read_bytes()
    except OSError as fault:
        raise RulesError([f"{settings.rules_file}: the rules cannot be read: {fault.strerror}"]) from fault


def parse(text: bytes, settings: Settings) -> ParsedRules:
    """A text as the settings' rules file."""
    hooks = partial(python_hook.load, settings.rules_python_dir)
    world = RuleContext(tuple(routes.parse(settings.routes)), settings.field_limit, hooks)
    return parse_rules_file(text, settings.rules_file, world)
