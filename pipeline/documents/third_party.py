"""Records of the raw topic that are not ours: raw CRI lines without headers, and Fluent Bit's JSON. Pure.

Fluent Bit's `kafka` output writes one object a record: plain (`log`, `stream`, `logtag`, `kubernetes`), or with its
`kubernetes` filter's fields lifted (`k8s_*`) and the application's own merged, with `log` or without. Each becomes a
slice of CRI lines with pod metadata, as if our shipper had sent it, so there is one way for all that follows.

The id is a hash of topic, partition, offset, record time, line number and the line's bytes: reading the record again
gives the same documents. Partials are not joined across records; their headers, if they have any, are not believed.
"""

import base64
import hashlib
from typing import Any

import orjson

from pipeline.contract import cri
from pipeline.contract.annotations import STREAMS
from pipeline.contract.record import IDENTITY_BYTES, Grouping, KafkaPosition, LogSlice, Segment, SourceFile
from pipeline.parsing import text_formats, timestamp

LIFTED_PREFIX = "k8s_"
_SHIPPER_FIELDS = frozenset({"log", "logtag", "_p", "tag"})
_DOCKER_FIELDS = frozenset({"log", "stream", "time", "attrs"})
_PLAIN_TIME_FIELDS = ("time", "@timestamp", "date")
_MERGED_TIME_FIELDS = ("@timestamp", "date", "time")
"""Where the time of the runtime is, or Fluent Bit's. Among merged fields `time` is rather the application's own."""


def make_slices(value: bytes, origin: KafkaPosition, grouping: Grouping) -> list[LogSlice]:
    """The slices that a foreign record's value stands for; none for an empty one."""
    lines = value.removesuffix(b"\n").split(b"\n") if value.strip() else []
    found: list[LogSlice] = []
    raw: list[tuple[int, bytes]] = []
    for number, line in enumerate(lines):
        body = _parse_object(line)
        if body is None:
            raw.append((number, line))
        else:
            found.append(_slice_of_object(body, line, number, origin, grouping))
    if raw:
        found.append(_slice_of_lines(raw, origin, grouping))
    return found


def _parse_object(line: bytes) -> dict[str, Any] | None:
    """A line's JSON object, unless it is docker's own."""
    if line[:1] != b"{":
        return None
    try:
        body = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return body if isinstance(body, dict) and not body.keys() <= _DOCKER_FIELDS else None


def _slice_of_lines(raw: list[tuple[int, bytes]], origin: KafkaPosition, grouping: Grouping) -> LogSlice:
    """Raw lines, each in a file of its own: a trace may stand in as many as there are."""
    names = [_make_identity(origin, number, line) for number, line in raw]
    segments, position = [], 0
    for index, (_, line) in enumerate(raw):
        segments.append(Segment(index, position, len(line) + 1))
        position += len(line) + 1
    value = b"".join(line + b"\n" for _, line in raw)
    return _make_slice(value, names, segments, b"{}", "", origin, grouping._replace(max_places=len(raw) + 1))


def _slice_of_object(
    body: dict[str, Any], line: bytes, number: int, origin: KafkaPosition, grouping: Grouping
) -> LogSlice:
    about = body.get("kubernetes")
    known = dict(about) if isinstance(about, dict) else {}
    known |= {name.removeprefix(LIFTED_PREFIX): value for name, value in body.items() if name.startswith(LIFTED_PREFIX)}
    stream = body.get("stream")
    timed, time = _find_time(body, origin)
    rest = {
        name: value
        for name, value in body.items()
        if name not in _SHIPPER_FIELDS and not name.startswith(LIFTED_PREFIX)
    }
    for name, gone in (("stream", stream in STREAMS), ("kubernetes", isinstance(about, dict)), (timed, True)):
        if gone:
            rest.pop(name, None)
    content = _content(body.get("log"), rest)
    head = f"{time} {stream if stream in STREAMS else 'stdout'} "
    tag = b"P " if body.get("logtag") == "P" else b"F "
    # A newline within is the application's own: its lines stay one event only if they are a trace.
    lines = b"".join(head.encode() + tag + part + b"\n" for part in content.split(b"\n"))
    node = known.get("host")
    names, segments = [_make_identity(origin, number, line)], [Segment(0, 0, len(lines))]
    return _make_slice(
        lines, names, segments, _pod_metadata(known), node if isinstance(node, str) else "", origin, grouping
    )


def _content(log: Any, rest: dict[str, Any]) -> bytes:
    """What the container wrote; with the fields that filters took from it or added, a JSON object."""
    if not isinstance(log, str):
        return orjson.dumps(rest if log is None else {**rest, "log": log})
    text = log.removesuffix("\n")
    # Times that are left are the shipper's again.
    added = {name: value for name, value in rest.items() if name not in _PLAIN_TIME_FIELDS}
    if not added:
        return text.encode()
    inner = _parse_object(text.encode())
    if inner is not None:
        return orjson.dumps({**added, **inner})
    told = {"message": text, **(text_formats.parse(text) or {})}
    return orjson.dumps({**told, **added, **({"event.original": text} if "message" in added else {})})


def _find_time(body: dict[str, Any], origin: KafkaPosition) -> tuple[str, str]:
    """The field that tells the line's time, and that; the record's own time where none does."""
    for name in _PLAIN_TIME_FIELDS if isinstance(body.get("log"), str) else _MERGED_TIME_FIELDS:
        moment = timestamp.parse(body.get(name))
        if moment is not None and cri.nanoseconds(timestamp.format_utc(moment).encode()) is not None:
            return name, timestamp.format_utc(moment)
    return "", timestamp.format_utc(max(0, origin.timestamp) * 1_000_000)


def _pod_metadata(fields: dict[str, Any]) -> bytes:
    """Fluent Bit's names of the pod's parts, as `pipeline.contract.pod_metadata` has them."""

    def text(name: str) -> str:
        value = fields.get(name)
        return value if isinstance(value, str) else ""

    labels, annotations = fields.get("labels"), fields.get("annotations")
    fields = {
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
    return orjson.dumps({name: value for name, value in fields.items() if value})


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
    known = {"namespace": "", "pod": "", "uid": "", "container": "", "node": node}
    return LogSlice(
        value=value,
        files=tuple(SourceFile(name, "") for name in names),
        segments=tuple(segments),
        node=node,
        read_at=max(0, origin.timestamp) * 1_000_000,
        grouping=grouping,
        pod=orjson.dumps({**known, **orjson.loads(pod)}),
    )
