"""Names that a rules file may refer to, in addition to the fields of an event."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

HookFinder = Callable[[str], tuple[Callable[..., Any], bytes]]
"""Finds a hook by `module:function`; returns the function and its module's source. Raises ValueError."""


@dataclass(frozen=True, slots=True)
class RuleContext:
    """Routes, field limit and hooks for parsing a rules file; `mentioned`: the names that its rules test or produce."""

    routes: tuple[str, ...]
    field_limit: int
    find_hook: HookFinder
    mentioned: frozenset[str] = frozenset()
