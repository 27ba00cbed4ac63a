"""Convert third-party records of the raw topic: raw CRI lines without headers, and Fluent Bit's JSON. Pure.

Fluent Bit's `kafka` output writes one object per record: plain (`log`, `stream`, `logtag`, `kubernetes`), or with the
fields of its `kubernetes` filter lifted (`k8s_*`) and the application's fields merged, with or without `log`. Each
becomes a slice of CRI lines with pod metadata, like those of crisp's shipper, so all later steps are the same.

The id is a hash of topic, partition, offset, record time, line number and the line's bytes: reading the record again
gives the same documents. Partial lines are not joined across records. Headers of such records are ignored.
"""

import base64
import hashlib
from typing import Any

import orjson

from pipeline.contract import cri
from pipeline.contract.annotations import STREAMS
from pipeline.contract.json_types import JsonObject
from pipeline.contract.record import IDENTITY_BYTES, Grouping, KafkaPosition, LogSlice, Segment, SourceFile
from pipeline.parsing import timestamp
from pipeline.parsing.text import text_formats

LIFTED_PREFIX = "k8s_"
DAY_NS = 86_400 * 10**9
_SHIPPER_FIELDS = frozenset({"log", "logtag", "_p", "tag"})
_DOCKER_FIELDS = frozenset({"log", "stream", "time", "attrs"})
_PLAIN_TIME_FIELDS = ("time", "@timestamp", "date")
_MERGED_TIME_FIELDS = ("@timestamp", "date", "time")
"""Fields with the runtime's or Fluent Bit's time. Among merged fields, `time` is more likely the application's."""


def make_slices(value: bytes, origin: KafkaPosition, grouping: Grouping) -> list[LogSlice]:
    """Convert the value of a third-party record into slices; an empty value gives none."""
    lines = value.removesuffix(b"\n").split(b"\n") if value.strip() else []
    slices: list[LogSlice] = []
    raw: list[tuple[int, bytes]] = []
    for number, line in enumerate(lines):
        body = _parse_object(line)
        if body is None:
            raw.append((number, line))
        else:
            slices.append(_slice_of_object(body, line, number, origin, grouping))
    if raw:
        slices.append(_slice_of_lines(raw, origin, grouping))
    return slices


def _parse_object(line: bytes) -> JsonObject | None:
    """Return a line's JSON object; None if the line is other text or an entry of Docker's json-file driver."""
    if line[:1] != b"{":
        return None
    try:
        body = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return body if isinstance(body, dict) and not body.keys() <= _DOCKER_FIELDS else None


def _slice_of_lines(raw: list[tuple[int, bytes]], origin: KafkaPosition, grouping: Grouping) -> LogSlice:
    """Make a slice of raw lines, each in its own file; `max_places` lets a stack trace span all of them."""
    names = [_make_identity(origin, number, line) for number, line in raw]
    segments, position = [], 0
    for index, (_, line) in enumerate(raw):
        segments.append(Segment(index, position, len(line) + 1))
        position += len(line) + 1
    value = b"".join(line + b"\n" for _, line in raw)
    return _make_slice(value, names, segments, b"{}", "", origin, grouping._replace(max_places=len(raw) + 1))


def _slice_of_object(body: JsonObject, line: bytes, number: int, origin: KafkaPosition, grouping: Grouping) -> LogSlice:
    kubernetes = body.get("kubernetes")
    pod_fields = dict(kubernetes) if isinstance(kubernetes, dict) else {}
    pod_fields |= {
        name.removeprefix(LIFTED_PREFIX): value for name, value in body.items() if name.startswith(LIFTED_PREFIX)
    }
    stream = body.get("stream")
    time_field, time = _find_time(body, origin)
    rest = {
        name: value
        for name, value in body.items()
        if name not in _SHIPPER_FIELDS and not name.startswith(LIFTED_PREFIX)
    }
    for name, used in (("stream", stream in STREAMS), ("kubernetes", isinstance(kubernetes, dict)), (time_field, True)):
        if used:
            rest.pop(name, None)
    content = _content(body.get("log"), rest)
    head = f"{time} {stream if stream in STREAMS else 'stdout'} "
    tag = b"P " if body.get("logtag") == "P" else b"F "
    # A newline in the content is the application's: the lines stay one event only if they form a stack trace.
    lines = b"".join(head.encode() + tag + part + b"\n" for part in content.split(b"\n"))
    node = pod_fields.get("host")
    names, segments = [_make_identity(origin, number, line)], [Segment(0, 0, len(lines))]
    return _make_slice(
        lines, names, segments, _pod_metadata(pod_fields), node if isinstance(node, str) else "", origin, grouping
    )


def _content(log: Any, rest: JsonObject) -> bytes:
    """Return the container's line; a JSON object if filters extracted fields from it or added some."""
    if not isinstance(log, str):
        return orjson.dumps(rest if log is None else {**rest, "log": log})
    text = log.removesuffix("\n")
    # The remaining time fields are the shipper's.
    added = {name: value for name, value in rest.items() if name not in _PLAIN_TIME_FIELDS}
    if not added:
        return text.encode()
    inner = _parse_object(text.encode())
    if inner is not None:
        return orjson.dumps({**added, **inner})
    parsed = {"message": text, **(text_formats.parse(text) or {})}
    return orjson.dumps({**parsed, **added, **({"event.original": text} if "message" in added else {})})


def _find_time(body: JsonObject, origin: KafkaPosition) -> tuple[str, str]:
    """Return the field with the line's time, and that time; an empty name and the record's time if there is none.

    A time among merged fields that is more than a day after the record's is an application's, whose clock is wrong.
    """
    written_ns = max(0, origin.timestamp) * 1_000_000
    is_plain = isinstance(body.get("log"), str)
    for name in _PLAIN_TIME_FIELDS if is_plain else _MERGED_TIME_FIELDS:
        moment = timestamp.parse(body.get(name))
        if moment is not None and not is_plain and written_ns and moment > written_ns + DAY_NS:
            continue
        if moment is not None and cri.nanoseconds(timestamp.format_utc(moment).encode()) is not None:
            return name, timestamp.format_utc(moment)
    return "", timestamp.format_utc(written_ns)


def _pod_metadata(fields: JsonObject) -> bytes:
    """Convert Fluent Bit's pod fields into the format of `pipeline.contract.pod_metadata`."""

    def text(name: str) -> str:
        value = fields.get(name)
        return value if isinstance(value, str) else ""

    labels, annotations = fields.get("labels"), fields.get("annotations")
    metadata = {
        "namespace": text("namespace_name"),
        "pod": text("pod_name"),
        "uid": text("pod_id"),
        "container": text("container_name"),
        "image": text("container_image"),
        "container_id": f"//{text('docker_id')}" if text("docker_id") else "",
        "labels": labels if isinstance(labels, dict) else {},
        "annotations": annotations if isinstance(annotations, dict) else {},
        "source": "foreign",
    }
    return orjson.dumps({name: value for name, value in metadata.items() if value})


def _make_identity(origin: KafkaPosition, number: int, line: bytes) -> str:
    seed = b"\0".join(str(part).encode() for part in (*origin, number)) + b"\0" + line
    return base64.urlsafe_b64encode(hashlib.blake2b(seed, digest_size=IDENTITY_BYTES).digest()).decode()


def _make_slice(
    value: bytes,
    names: list[str],
    segments: list[Segment],
    pod: bytes,
    node: str,
    origin: KafkaPosition,
    grouping: Grouping,
) -> LogSlice:
    defaults = {"namespace": "", "pod": "", "uid": "", "container": "", "node": node}
    return LogSlice(
        value=value,
        files=tuple(SourceFile(name, "") for name in names),
        segments=tuple(segments),
        node=node,
        read_at=max(0, origin.timestamp) * 1_000_000,
        grouping=grouping,
        pod=orjson.dumps({**defaults, **orjson.loads(pod)}),
    )
