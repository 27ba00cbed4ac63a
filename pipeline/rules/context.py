"""What a rules file may refer to, beside the fields of an event."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

HookFinder = Callable[[str], tuple[Callable[..., Any], bytes]]
"""Finds a hook by `module:function`: the function and the source it came from. Raises ValueError."""


@dataclass(frozen=True, slots=True)
class RuleContext:
    """What a rules file may refer to."""

    routes: tuple[str, ...]
    field_limit: int
    find_hook: HookFinder
