"""The contract of bundles, version 2 of the raw topic: one Kafka record is slices of several containers of one node.

What one slice costs in Kafka and in a worker is thereby shared by the quiet containers of a node.

key      the node and a number, which spreads a node's bundles over the partitions: NODE/NUMBER
value    the values of the slices, one after the other: raw lines, as in a record of one slice
headers  crisp      contract version, "2"
         node       name of the node
         read       when the shipper read the first slice, nanoseconds since the epoch, decimal
         groupings  JSON, one per line: how lines are joined into events, each once
         pods       JSON, one per line: the pod metadata of the containers, each once
         parts      one line per slice, in the order of the value, with these fields, separated by single blanks:
                    KEY SIZE READ GROUPING POD SEGMENTS AFTER CARRIED GOES_ON FILES
                    SIZE is the slice's length in bytes, READ nanoseconds after the header `read`, GROUPING and POD
                    count the lines of the headers from 0. KEY is the key that the slice has as a record of its own;
                    SEGMENTS, AFTER, CARRIED, GOES_ON and FILES are its headers, "-" if it does not have one.

`split` makes records of version 1 of it, each of one slice (`pipeline.contract.record`), with the same meaning: the
order of records matters to nobody, since an event is in one slice, and its place in its file is in its id.
"""

import re
from typing import NamedTuple

from pipeline.contract import record
from pipeline.contract.record import Headers, LogSlice
from pipeline.errors import RecordError

VERSION = b"2"
MAX_PARTS = 256
METADATA_MAX_BYTES = 48 * 1024
"""Of the headers `groupings` and `pods` together."""
TABLE_MAX_BYTES = 32 * 1024
"""Of the header `parts`."""

_HEADERS = ("node", "read", "groupings", "pods", "parts")
_OPTIONAL = ("after", "carried", "goes_on")
_NONE = b"-"
_NO_OPTIONAL = (_NONE, _NONE, _NONE)
_WORD = re.compile(rb"[!-~]{1,1024}")
_NUMBER = re.compile(rb"\d{1,19}")
_ROW = re.compile(
    rb"([!-~]{1,1024}) (\d{1,19}) (\d{1,19}) (\d{1,19}) (\d{1,19}) ([^ ]+) ([^ ]+) ([^ ]+) ([^ ]+) (.+)", re.DOTALL
)


class Part(NamedTuple):
    """One slice of a bundle, as the record of version 1 that it would be on its own."""

    key: bytes
    value: bytes
    headers: Headers


class Bundle:
    """A bundle under construction, within the limits of the contract; `max_bytes`: of its value."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._values: list[bytes] = []
        self._rows: list[bytes] = []
        self._groupings: dict[bytes, int] = {}
        self._pods: dict[bytes, int] = {}
        self._size = self._table_size = self._metadata_size = 0
        self._node = ""
        self._read_at = 0

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, key: bytes, log_slice: LogSlice) -> bool:
        """Add a slice; return False if it does not fit, or if this bundle cannot express it."""
        if not self._rows:
            self._node, self._read_at = log_slice.node, log_slice.read_at
        grouping, pod = record.encode_grouping(log_slice.grouping), log_slice.pod
        size = self._size + len(log_slice.value)
        metadata_size = self._metadata_size
        if grouping not in self._groupings:
            metadata_size += len(grouping) + 1
        if pod not in self._pods:
            metadata_size += len(pod) + 1
        if size > self._max_bytes or metadata_size > METADATA_MAX_BYTES or len(self._rows) >= MAX_PARTS:
            return False
        if log_slice.node != self._node or log_slice.read_at < self._read_at or b"\n" in pod:
            return False
        optional = dict(record.encode_optional(log_slice))
        if not all(map(_WORD.fullmatch, (key, *optional.values()))):
            return False
        grouping_number = self._groupings.get(grouping, len(self._groupings))
        pod_number = self._pods.get(pod, len(self._pods))
        row = b"%b %d %d %d %d %b %b %b %b %b" % (
            key,
            len(log_slice.value),
            log_slice.read_at - self._read_at,
            grouping_number,
            pod_number,
            record.encode_segments(log_slice.segments),
            *([optional.get(name, _NONE) for name in _OPTIONAL] if optional else _NO_OPTIONAL),
            record.encode_files(log_slice.files),
        )
        if self._table_size + len(row) + 1 > TABLE_MAX_BYTES:
            return False
        self._groupings[grouping] = grouping_number
        self._pods[pod] = pod_number
        self._rows.append(row)
        self._values.append(log_slice.value)
        self._size, self._metadata_size = size, metadata_size
        self._table_size += len(row) + 1
        return True

    def encode(self) -> tuple[bytes, Headers]:
        """Return value and headers of the bundle's record."""
        return b"".join(self._values), [
            ("crisp", VERSION),
            ("node", self._node.encode()),
            ("read", b"%d" % self._read_at),
            ("groupings", b"\n".join(self._groupings)),
            ("pods", b"\n".join(self._pods)),
            ("parts", b"\n".join(self._rows)),
        ]


def is_bundle(headers: Headers) -> bool:
    """Return whether a record declares itself a bundle."""
    return any(name == "crisp" and data == VERSION for name, data in headers)


def split(value: bytes | None, headers: Headers) -> list[Part]:
    """Return the parts of a bundle. Raises RecordError if it cannot be divided.

    What else is wrong with a part shows when it is decoded, and concerns no other part.
    """
    fields = dict(headers)
    missing = [name for name in _HEADERS if name not in fields]
    if missing:
        raise RecordError("missing headers of a bundle: " + ", ".join(missing))
    if not _NUMBER.fullmatch(fields["read"]):
        raise RecordError(f"header read: {fields['read'][:40]!r} is not a number")
    rows = fields["parts"].split(b"\n")
    if len(rows) > MAX_PARTS:
        raise RecordError(f"header parts: {len(rows)} parts, at most {MAX_PARTS}")
    value, read_at, node = value or b"", int(fields["read"]), fields["node"]
    groupings, pods = fields["groupings"].split(b"\n"), fields["pods"].split(b"\n")
    parts, start = list[Part](), 0
    for row in rows:
        columns = _ROW.fullmatch(row)
        if columns is None:
            raise RecordError(f"header parts: {row[:80]!r} is not a part")
        key, size, delay, grouping, pod, segments, after, carried, goes_on, files = columns.groups()
        end = start + int(size)
        part_headers = [
            ("crisp", record.VERSION),
            ("files", files),
            ("segments", segments),
            ("node", node),
            ("read", b"%d" % (read_at + int(delay))),
            *[("grouping", text) for text in groupings[int(grouping) : int(grouping) + 1]],
            *[("pod", text) for text in pods[int(pod) : int(pod) + 1]],
        ]
        if (after, carried, goes_on) != _NO_OPTIONAL:
            optional = zip(_OPTIONAL, (after, carried, goes_on), strict=True)
            part_headers += [(name, text) for name, text in optional if text != _NONE]
        parts.append(Part(key, value[start:end], part_headers))
        start = end
    if start != len(value):
        raise RecordError(f"the parts have {start} bytes, the value has {len(value)}")
    return parts


def expand(value: bytes, headers: Headers) -> list[tuple[bytes, Headers]]:
    """Return the records of version 1 that a record stands for: of a bundle one per part, else the record itself.

    So is a bundle that cannot be divided: whoever decodes it finds out why.
    """
    if not is_bundle(headers):
        return [(value, headers)]
    try:
        return [(part.value, part.headers) for part in split(value, headers)]
    except RecordError:
        return [(value, headers)]
