"""One raw line of a container's log file: the CRI format as the kubelet reads it, and docker's json-file.

CRI: `TIME SP STREAM SP TAGS SP CONTENT`. The time is RFC 3339 with 0 to 9 fraction digits, the stream exactly
stdout or stderr; the first of the colon-separated tags decides: P is partial, anything else is full. The
content keeps every byte. Without the third blank the content is empty.
Source: kubelet's reader (k8s.io/cri-client/pkg/logs), containerd and conmon as writers.
"""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

import orjson

from pipeline.contract.record import FIRST_LINE_BYTES

STREAMS = (b"stdout", b"stderr")
LATEST = 2**63 - 1  # nanoseconds in 64 bits, which is what Elasticsearch can store: until the year 2262
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

MAX_TIME_LENGTH = 35
"""Of a valid time: with nine digits and a zone."""
_DATE_AND_TIME = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
_TIME = re.compile(rb"(" + _DATE_AND_TIME.pattern + rb")(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")
_DOCKER_TIME = re.compile(rb'"time":"(' + _TIME.pattern + rb")")
_DOCKER_TIME_AFTER_LABELS = re.compile(rb"\}," + _DOCKER_TIME.pattern)


class Line(NamedTuple):
    """One raw line: `time` as in the file (valid RFC 3339); `partial` if the next line of its stream continues it."""

    time: bytes
    stream: bytes
    partial: bool
    content: bytes


@lru_cache(maxsize=4096)
def _seconds(date_and_time: bytes, zone: bytes) -> int | None:
    if _DATE_AND_TIME.fullmatch(date_and_time) is None:
        return None
    try:
        moment = datetime.fromisoformat(date_and_time.decode()).replace(tzinfo=UTC)
        hours, minutes = (int(zone[1:3]), int(zone[4:6])) if zone != b"Z" else (0, 0)
    except ValueError:
        return None
    if hours > 23 or minutes > 59:
        return None
    ahead = timedelta(hours=hours, minutes=minutes)
    try:
        moment = moment + ahead if zone.startswith(b"-") else moment - ahead
    except OverflowError:
        return None
    return int((moment - EPOCH).total_seconds())


@lru_cache(maxsize=1024)  # the grouper parses the time of a line twice: on reading and on comparing
def nanoseconds(time: bytes) -> int | None:
    """Return an RFC 3339 time as nanoseconds since the epoch; None if it is invalid or exceeds 64 bits.

    A cache keeps `time`: text of unknown length must be checked against MAX_TIME_LENGTH before.
    """
    date_and_time, fraction, zone = time[:19], time[20:29], time[29:]
    if zone != b"Z" or time[19:20] != b"." or not fraction.isdigit():  # not the usual form of a node in UTC
        match = _TIME.fullmatch(time)
        if match is None:
            return None
        date_and_time, fraction, zone = match[1], (match[2] or b"").ljust(9, b"0"), match[3]
    seconds = _seconds(date_and_time, zone)
    if seconds is None:
        return None
    moment = seconds * 1_000_000_000 + int(fraction)
    return moment if 0 <= moment <= LATEST else None


def gap_exceeded(earlier: bytes, later: bytes, gap: int) -> bool:
    """Return whether `later` is more than `gap` nanoseconds after `earlier`; both valid times."""
    return (nanoseconds(later) or 0) - (nanoseconds(earlier) or 0) > gap


def first_time(lines: bytes) -> int | None:
    """Return the time of the first CRI line, in nanoseconds since the epoch; None if it has none."""
    return nanoseconds(lines[: MAX_TIME_LENGTH + 1].split(b" ", 1)[0])


def utc(time: bytes) -> str:
    """Convert a time to RFC 3339 text in UTC, with every fraction digit. Raises ValueError for an invalid time."""
    match = _TIME.fullmatch(time)
    if match is None:
        raise ValueError(time)
    if match[3] == b"Z":
        return time.decode()
    moment = EPOCH + timedelta(seconds=_seconds(match[1], match[3]) or 0)
    fraction = "." + match[2].decode() if match[2] else ""
    return moment.strftime("%Y-%m-%dT%H:%M:%S") + fraction + "Z"


def parse(raw: bytes) -> Line | None:
    """Parse one raw line (without its newline); None if it is neither CRI nor docker's json-file."""
    if raw.startswith(b'{"log":'):
        return _parse_docker(raw)
    parts = raw.split(b" ", 3)
    if len(parts) < 3 or parts[1] not in STREAMS or len(parts[0]) > MAX_TIME_LENGTH or nanoseconds(parts[0]) is None:
        return None
    partial = parts[2] == b"P" or parts[2].startswith(b"P:")
    return Line(parts[0], parts[1], partial, parts[3] if len(parts) == 4 else b"")


def has_time(first_line: bytes) -> bool:
    """Return whether a file's first line, complete or not, has a time and so identifies the file.

    Docker writes the time last: the whole of it must be within FIRST_LINE_BYTES, else two files could get the same
    identity. Labels of the container, before it in `attrs`, may have the name `time` too: the log's follows their end.
    """
    if first_line.startswith(b'{"log":'):
        before, _, labels = first_line[:FIRST_LINE_BYTES].partition(b',"attrs":{')
        match = _DOCKER_TIME.search(before) or _DOCKER_TIME_AFTER_LABELS.search(labels)
        return match is not None and nanoseconds(match[1]) is not None
    return first_time(first_line) is not None


def _parse_docker(raw: bytes) -> Line | None:
    """Parse docker's json-file: a `log` without a final newline continues in the next object."""
    try:
        entry = orjson.loads(raw)
        content, stream, time = entry["log"].encode(), entry["stream"].encode(), entry["time"].encode()
    except (ValueError, KeyError, AttributeError):
        return None
    if stream not in STREAMS or len(time) > MAX_TIME_LENGTH or nanoseconds(time) is None:
        return None
    ended = content.endswith(b"\n")
    return Line(time, stream, not ended, content[:-1] if ended else content)
