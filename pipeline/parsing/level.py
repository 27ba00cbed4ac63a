"""Log levels normalised to trace, debug, info, notice, warn, error, critical or fatal. Pure."""

import re
from itertools import product

from pipeline.parsing import ansi

_SPELLINGS = {
    "trace": "trace trce trac trc verbose verb vrb finest finer all silly t",
    "debug": "debug dbug debu dbg fine config d debug5",
    "info": "info information informational inf log i",
    "notice": "notice noti note n",
    "warn": "warn warning wrn w",
    "error": "error err eror erro severe fail failure e",
    "critical": "critical crit c dpanic alert",
    "fatal": "fatal fata ftl f panic pani emerg emergency a",
}
LEVELS = tuple(_SPELLINGS)
"""By severity, the least severe first."""

_NORMAL = {spelling: level for level, spellings in _SPELLINGS.items() for spelling in spellings.split()}
# OpenTelemetry numbers the severities within a name (INFO2), PostgreSQL its debug levels (DEBUG1 to DEBUG5).
_NORMAL |= {
    f"{name}{number}": name for name, number in product(("trace", "debug", "info", "warn", "error", "fatal"), "1234")
}
# Bunyan's and Pino's. Numbers of syslog, zap and Serilog are ambiguous, so they stay as they are.
_NUMBERS = {10: "trace", 20: "debug", 30: "info", 40: "warn", 50: "error", 60: "fatal"}
_COMMON = (
    "trace debug info notice warn warning error err critical crit alert fatal panic emerg emergency severe verbose"
)
_SHORT = "trc dbg inf wrn ftl vrb trce dbug fail erro noti debu trac fata dpanic debug1 debug2 debug3 debug4 debug5"
_CAPITALS = "FINE FINER FINEST CONFIG LOG"  # in lower case these are ordinary words
WORDS: dict[str, str] = {
    **{
        spelling: _NORMAL[word]
        for word in f"{_COMMON} {_SHORT}".split()
        for spelling in (word, word.upper(), word.capitalize())
    },
    **{word: _NORMAL[word.lower()] for word in _CAPITALS.split()},
}
"""Words that are a level at a level's place in a text, each with its normal name."""
LETTERS: dict[str, str] = {letter: _NORMAL[letter.lower()] for letter in "TDINWECF"}
"""Letters for a level, as klog, etcd, MongoDB and Ruby write them."""
SYSLOG = ("fatal", "critical", "critical", "error", "warn", "notice", "info", "debug")
"""By syslog's severity: 0 is emergency."""

NORMAL = frozenset(_SPELLINGS)
"""The normal names."""

_OFFSET = re.compile(r"(debug|info|warn|error)[+-]\d{1,3}", re.ASCII)
_MAX_LENGTH = 40  # of a text that may be a level, surrounding blanks included


def _normalize_text(text: str) -> str | None:
    """A level with colours, in any letter case, as one of the numbers, or with Go's offset: `ERROR+4`."""
    word = str(ansi.strip(text)).strip().lower()
    match = _OFFSET.fullmatch(word)
    return _NORMAL.get(match[1] if match else word) or (_NUMBERS.get(int(word)) if word.isdecimal() else None)


def normalize(value: object) -> str | None:
    """Return the normal name of a logger's level, in any letter case; None for any other value."""
    if isinstance(value, str):
        return _NORMAL.get(value) or (_normalize_text(value) if len(value) <= _MAX_LENGTH else None)
    if isinstance(value, int) and not isinstance(value, bool):
        return _NUMBERS.get(value)
    return None
