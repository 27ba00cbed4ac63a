"""One raw line of a container's log file: the CRI format as the kubelet reads it, and docker's json-file.

CRI: `TIME SP STREAM SP TAGS SP CONTENT`. The time is RFC 3339 with 0 to 9 fraction digits, the stream exactly
stdout or stderr; the first of the colon-separated tags decides: P is partial, anything else is full. The
content keeps every byte. A line without the third blank has an empty content.
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

_MAX_TIME_LENGTH = 36  # with nine digits, a zone, and the blank behind it
_DATE_AND_TIME = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
_TIME = re.compile(rb"(" + _DATE_AND_TIME.pattern + rb")(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")


class Line(NamedTuple):
    """One raw line: `time` as it stands in the line (valid RFC 3339), `partial` if the next of its stream goes on."""

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


@lru_cache(maxsize=1024)  # where lines are grouped, a line is asked for its time when it is read and compared
def nanoseconds(time: bytes) -> int | None:
    """Nanoseconds since the epoch of an RFC 3339 time, None if it is not one, or out of 64 bits."""
    date_and_time, fraction, zone = time[:19], time[20:29], time[29:]
    if zone != b"Z" or time[19:20] != b"." or not fraction.isdigit():  # not as every runtime writes it on a node in UTC
        match = _TIME.fullmatch(time)
        if match is None:
            return None
        date_and_time, fraction, zone = match[1], (match[2] or b"").ljust(9, b"0"), match[3]
    seconds = _seconds(date_and_time, zone)
    if seconds is None:
        return None
    moment = seconds * 1_000_000_000 + int(fraction)
    return moment if 0 <= moment <= LATEST else None


def first_time(lines: bytes) -> int | None:
    """When the first of some CRI lines was written, nanoseconds since the epoch; None where it does not tell."""
    return nanoseconds(lines[:_MAX_TIME_LENGTH].split(b" ", 1)[0])


def utc(time: bytes) -> str:
    """The same instant as RFC 3339 text in UTC, every fraction digit kept. `time` must be valid."""
    match = _TIME.fullmatch(time)
    if match is None:
        raise ValueError(time)
    if match[3] == b"Z":
        return time.decode()
    moment = EPOCH + timedelta(seconds=_seconds(match[1], match[3]) or 0)
    fraction = "." + match[2].decode() if match[2] else ""
    return moment.strftime("%Y-%m-%dT%H:%M:%S") + fraction + "Z"


def parse(raw: bytes) -> Line | None:
    """Read one raw line (without its newline); None when it is neither CRI nor docker's json-file."""
    if raw.startswith(b'{"log":'):
        return _parse_docker(raw)
    parts = raw.split(b" ", 3)
    if len(parts) < 3 or parts[1] not in STREAMS or nanoseconds(parts[0]) is None:
        return None
    partial = parts[2] == b"P" or parts[2].startswith(b"P:")
    return Line(parts[0], parts[1], partial, parts[3] if len(parts) == 4 else b"")


def has_time(first_line: bytes) -> bool:
    """Whether a file's first line (or what there is of it) tells a time, so that it names the file for ever.

    Docker's time stands at the end: it must be within what the file is named by, else two files might share a name.
    """
    if first_line.startswith(b'{"log":'):
        return b'"time":"' in first_line[:FIRST_LINE_BYTES]
    return nanoseconds(first_line.split(b" ", 1)[0]) is not None


def _parse_docker(raw: bytes) -> Line | None:
    """Docker's json-file: a `log` without a final newline goes on in the next object."""
    try:
        entry = orjson.loads(raw)
        content, stream, time = entry["log"].encode(), entry["stream"].encode(), entry["time"].encode()
    except (ValueError, KeyError, AttributeError):
        return None
    if stream not in STREAMS or nanoseconds(time) is None:
        return None
    ended = content.endswith(b"\n")
    return Line(time, stream, not ended, content[:-1] if ended else content)
