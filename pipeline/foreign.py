"""Records of the raw topic that are not ours: raw CRI lines without headers, and Fluent Bit's JSON. Pure.

Fluent Bit's `kafka` output writes one object a record: plain (`log`, `stream`, `logtag`, `kubernetes`), or with its
`kubernetes` filter's fields lifted (`k8s_*`) and the application's own merged, without `log`. Each becomes a slice
of CRI lines with pod metadata, as if our shipper had sent it, so there is one way for all that follows.

The id is a hash of topic, partition, offset, record time, line number and the line: reading the record again gives
the same documents. Partials are not joined across records; their headers, if they have any, are not believed.
"""

import base64
import hashlib
from typing import Any

import orjson

from pipeline import cri
from pipeline.message import apptime
from pipeline.record import IDENTITY_BYTES, Grouping, LogSlice, Origin, Segment, SourceFile

LIFTED = "k8s_"
_ENVELOPE = frozenset({"log", "stream", "logtag", "time", "_p", "@timestamp", "kubernetes", "tag", "date"})
_DOCKER = frozenset({"log", "stream", "time", "attrs"})


def slices(value: bytes, origin: Origin, grouping: Grouping) -> list[LogSlice]:
    """The slices that a foreign record's value stands for; none for an empty one."""
    lines = value.removesuffix(b"\n").split(b"\n") if value.strip() else []
    found: list[LogSlice] = []
    raw: list[bytes] = []
    for number, line in enumerate(lines):
        body = _object(line)
        if body is None:
            raw.append(line)
        else:
            found.append(_of_object(body, line, number, origin, grouping))
    if raw:
        found.append(_slice(b"\n".join(raw) + b"\n", b"{}", "", len(lines), origin, grouping))
    return found


def _object(line: bytes) -> dict[str, Any] | None:
    """A line's JSON object, unless it is docker's own."""
    if line[:1] != b"{":
        return None
    try:
        body = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return body if isinstance(body, dict) and not body.keys() <= _DOCKER else None


def _of_object(body: dict[str, Any], line: bytes, number: int, origin: Origin, grouping: Grouping) -> LogSlice:
    about = body.get("kubernetes")
    known = dict(about) if isinstance(about, dict) else {}
    known |= {name.removeprefix(LIFTED): value for name, value in body.items() if name.startswith(LIFTED)}
    stream = body.get("stream")
    text = body.get("log")
    if isinstance(text, str):
        content = text.removesuffix("\n").encode()
    else:
        rest = {name: value for name, value in body.items() if name not in _ENVELOPE and not name.startswith(LIFTED)}
        content = orjson.dumps(rest)
    head = f"{_time(body, origin)} {stream if stream in ('stdout', 'stderr') else 'stdout'} "
    tag = b"P " if body.get("logtag") == "P" else b"F "
    # A newline within is the application's own: its lines stay one event only if they are a trace.
    lines = b"".join(head.encode() + tag + part + b"\n" for part in content.split(b"\n"))
    node = known.get("host")
    return _slice(lines, _metadata(known), node if isinstance(node, str) else "", number, origin, grouping, line)


def _time(body: dict[str, Any], origin: Origin) -> str:
    for name in ("time", "@timestamp", "date"):
        moment = apptime.nanoseconds(body.get(name))
        if moment is not None and cri.nanoseconds(apptime.text(moment).encode()) is not None:
            return apptime.text(moment)
    return apptime.text(max(0, origin.timestamp) * 1_000_000)


def _metadata(known: dict[str, Any]) -> bytes:
    """Fluent Bit's names of the pod's parts, as `pipeline.pod` has them."""

    def text(name: str) -> str:
        value = known.get(name)
        return value if isinstance(value, str) else ""

    labels, annotations = known.get("labels"), known.get("annotations")
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


def _slice(
    value: bytes, pod: bytes, node: str, number: int, origin: Origin, grouping: Grouping, line: bytes = b""
) -> LogSlice:
    names = {"namespace": "", "pod": "", "uid": "", "container": "", "node": node}
    seed = b"\0".join(str(part).encode() for part in (*origin, number)) + b"\0" + (line or value)
    identity = base64.urlsafe_b64encode(hashlib.blake2b(seed, digest_size=IDENTITY_BYTES).digest()).decode()
    return LogSlice(
        value=value,
        files=(SourceFile(identity, ""),),
        segments=(Segment(0, 0, len(value)),),
        node=node,
        read=max(0, origin.timestamp) * 1_000_000,
        grouping=grouping,
        pod=orjson.dumps({**names, **orjson.loads(pod)}),
    )
