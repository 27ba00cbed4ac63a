"""Caches of functions of a text that a tenant writes: bounded in bytes, by their entries and the length of each key."""

from collections.abc import Callable
from typing import Generic, TypeVar

MAX_KEY_LENGTH = 256
"""Of a key that is cached, in its own units: bytes, or characters of a text."""

Key = TypeVar("Key", str, bytes)
Value = TypeVar("Value")


class ShortKeyCache(dict[Key, Value], Generic[Key, Value]):
    """Results of `function` by key, at most `max_entries`; the result for a longer key is computed each time.

    A dictionary, since a look-up in it needs no call of a Python function when it has the key.
    """

    __slots__ = ("_function", "_max_entries")

    def __init__(self, function: Callable[[Key], Value], max_entries: int) -> None:
        super().__init__()
        self._function: Callable[[Key], Value] = function
        self._max_entries = max_entries

    def __missing__(self, key: Key) -> Value:
        """Compute the result for a key, and keep it if the key is short. Raises what the function raises."""
        value = self._function(key)
        if len(key) <= MAX_KEY_LENGTH:
            if len(self) >= self._max_entries:
                self.clear()
            self[key] = value
        return value


def cache_short_keys(max_entries: int) -> Callable[[Callable[[Key], Value]], Callable[[Key], Value]]:
    """Cache a function's results for short keys; see `ShortKeyCache`."""

    def decorate(function: Callable[[Key], Value]) -> Callable[[Key], Value]:
        return ShortKeyCache(function, max_entries).__getitem__

    return decorate
