"""Loads the rules file of the settings from disk."""

from functools import partial
from pathlib import Path

from pipeline.config.settings import RulesSettings
from pipeline.errors import RulesError
from pipeline.rules import python_hook
from pipeline.rules.context import RuleContext
from pipeline.rules.parser import ParsedRules, parse_rules_file
from pipeline.rules.ruleset import Ruleset


def load(settings: RulesSettings) -> Ruleset | None:
    """Load the rules; None if the settings have no rules file. Raises RulesError with all problems."""
    return load_file(settings).ruleset if settings.rules_file else None


def load_file(settings: RulesSettings) -> ParsedRules:
    """Load the rules with their tests and warnings. Raises RulesError with all problems."""
    parsed = parse(read_bytes(settings), settings)
    if parsed.problems:
        raise RulesError(parsed.problems)
    return parsed


def read_bytes(settings: RulesSettings) -> bytes:
    """Read the bytes of the rules file. Raises RulesError."""
    try:
        return Path(settings.rules_file).read_bytes()
    except OSError as error:
        raise RulesError([f"{settings.rules_file}: the rules cannot be read: {error.strerror}"]) from error


def parse(text: bytes, settings: RulesSettings) -> ParsedRules:
    """Parse a text as the rules file of the settings."""
    find_hook = partial(python_hook.load, settings.rules_python_dir)
    context = RuleContext(tuple(settings.routes), settings.field_limit, find_hook)
    return parse_rules_file(text, settings.rules_file, context)
