"""Parser of Spring Boot's default line: process, application, thread, trace ids, logger. Pure, and linear."""

import re

from pipeline.contract.json_types import JsonObject

_AFTER_LEVEL = re.compile(
    r" *+(?:\[[^,\]]{0,60},(?P<trace>[0-9a-f]{0,32}),(?P<span>[0-9a-f]{0,16})(?:,\w{0,5})?\] ++)?"  # Sleuth
    r"(?P<pid>\d{1,10}) --- (?P<brackets>(?:\[[^\]]{0,100}\] ++){1,3})"
    r"(?P<logger>[A-Za-z_$](?:[\w$./-]|\[[^\]\s]{0,60}\])*+) *+: ",
    re.ASCII,
)
_BRACKET = re.compile(r"\[ *([^\]]*?) *\]")
_IDS = re.compile(r"(?:([0-9a-f]{32})-([0-9a-f]{16}))?-?", re.ASCII)


def parse(line: str, level_end: int) -> JsonObject:
    """Return the fields after the level, which ends at `level_end`; none for a line that is not Spring's."""
    match = _AFTER_LEVEL.match(line, level_end)
    if match is None:
        return {}
    brackets = _BRACKET.findall(match["brackets"])
    trace, span = match["trace"], match["span"]
    if len(brackets) > 1 and (ids := _IDS.fullmatch(brackets[-1])) is not None:
        brackets.pop()
        trace, span = ids[1], ids[2]
    fields = {
        "process.pid": int(match["pid"]),
        "process.thread.name": brackets[-1],
        "log.logger": match["logger"],
        "trace.id": trace,
        "span.id": span,
    }
    return {name: value for name, value in fields.items() if value}
