"""A list whose items were parsed exactly. A module of its own, which is not compiled: a compiled class is no list."""

from typing import Any


class ExactList(list[Any]):
    """A list from the parser that keeps every pair and digit."""
