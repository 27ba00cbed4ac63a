"""What a line of plain text tells by the format it is in: level, logger, time, and the fields of a request. Pure.

The message itself is never changed. A line's first characters say which format is tried, so that a line in none of
them costs next to nothing, and what a line means never depends on the lines before it. Only the first line of an
event is looked at, and of that 4 KiB; every pattern is linear in that.

A time is taken only where it names its zone. A level is taken from where a format has it, or from a level's word at
the very beginning; never from a word within a text.
"""

import re
from typing import Any

from pipeline import level

LOOKED_AT = 4096

Fields = dict[str, Any]

_WORDS = (
    "trace debug info notice note warn warning error err critical crit alert fatal panic emerg emergency severe fine "
    "finer finest config log verbose trc dbg inf wrn ftl vrb trce dbug fail system "
    "debug1 debug2 debug3 debug4 debug5"
)
_LEVELS: dict[str, str] = {
    spelling: level.normal(word) or "info"  # MySQL's word for what always is to be said is System
    for word in _WORDS.split()
    for spelling in (word, word.upper(), word.capitalize())
}
_LETTERS = {"T": "trace", "D": "debug", "I": "info", "N": "notice", "W": "warn", "E": "error", "C": "critical"} | {
    "F": "fatal",
    "A": "fatal",
}

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_STAMP = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:[.,](\d{1,9}))?(?: ?(Z\b|UTC\b|GMT\b|[+-]\d\d:?\d\d\b))?"
    r"[\s|:-]*(?:[\[(<]?([A-Za-z]{1,11}\d?)(?=[\s\])>:|]|$)[\])>]?)?",
    re.ASCII,
)
_UPPER = "|".join(
    [
        "TRACE",
        "DEBUG",
        "INFO",
        "NOTICE",
        "WARN(?:ING)?",
        "ERROR",
        "ERR",
        "CRIT(?:ICAL)?",
        "ALERT",
        "FATAL",
        "PANIC",
        "EMERG",
        "SEVERE",
        "FINE(?:R|ST)?",
        "CONFIG",
        "VERBOSE",
        "LOG",
        "DEBUG[1-5]",
    ]
)
_LATER = re.compile(
    r"(?:\[\s*(?P<pid>\d{1,10})\] (?:\S{1,64}@\S{1,64} )?"  # PostgreSQL
    rf"|\[\s*(?P<thread>[^\]]{{1,100}}?)\s*\][\s|:-]*"  # logback, log4j
    r"|(?P<logger>[\w.$/:-]{1,100}) +- +"  # Python
    r"|(?P<number>\d{1,10}) )?"  # MySQL
    rf"\[?(?P<level>{_UPPER}|(?<=\[)(?:[A-Z]?[a-z]{{3,8}}))\b",
    re.ASCII,
)
_BEHIND = re.compile(
    r"\]?[\s|:-]*(?:(?P<pid>\d{1,10}) +--- +(?:\[[^\]]{0,60}\] +)?)?(?:\[\s*(?P<thread>[^\]]{1,100}?)\s*\] +)?"
    r"(?:(?P<logger>[A-Za-z_$][\w$]*(?:[./][\w$\[\]]+|::\w+)+)(?::(?P<function>[\w<>]+):(?P<line>\d{1,9}))? *[-:|\t ]"
    r"|(?P<short>[\w$]{1,100}) +[-:] )?",
    re.ASCII,
)
