"""The level of an event, in one spelling: trace, debug, info, notice, warn, error, critical, fatal … Pure."""

from typing import Any

_SPELLINGS = {
    "trace": "trace trce trc verbose verb finest finer all silly t",
    "debug": "debug dbug dbg fine config d debug1 debug2 debug3 debug4 debug5",
    "info": "info information informational inf log i",
    "notice": "notice n",
    "warn": "warn warning wrn w",
    "error": "error err eror severe fail failure e",
    "critical": "critical crit c dpanic alert",
    "fatal": "fatal ftl f panic emerg emergency a",
}
_NORMAL = {spelling: level for level, spellings in _SPELLINGS.items() for spelling in spellings.split()}
_NUMBERS = {10: "trace", 20: "debug", 30: "info", 40: "warn", 50: "error", 60: "fatal"}  # Bunyan, Pino


def normal(value: Any) -> str | None:
    """The normal name of a level as a logger wrote it; None if it is not one."""
    if isinstance(value, str):
        return _NORMAL.get(value) or _NORMAL.get(value.strip().lower())
    if isinstance(value, int) and not isinstance(value, bool):
        return _NUMBERS.get(value)
    return None
