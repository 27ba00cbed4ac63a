"""The conformance cases of ../shared/cases: what the peers assert in their own tests, as input and check.

Each case goes the way of `crisp parse`. A check returns what differs, in words; nothing when the case is met.
"""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from pipeline.cli.parse import DEFAULT_PATH, parse
from pipeline.config.settings import Settings
from pipeline.contract import cri

Case = dict[str, Any]
Document = dict[str, Any]

CASES = Path(__file__).parent.parent.parent.parent / "shared" / "cases"
MONTHS = 10.0**8
"""Seconds: two of Filebeat's cases have a month between the halves of a line."""


def cases(kind: str, *tiers: str) -> list[Case]:
    """The cases of one file; none where the data is not there."""
    file = CASES / f"{kind}.jsonl"
    found = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    return [case for case in found if case["tier"] in tiers]


def documents(case: Case, **settings: Any) -> list[Document]:
    """What `crisp parse` would show of a case."""
    found: list[Document] = []
    for name, lines in _files(case).items():
        path = case.get("path") or DEFAULT_PATH
        whole = f"{path.rpartition('/')[0]}/{name}" if name.endswith(".log") else path
        hits, _ = parse(b"".join(line + b"\n" for line in lines), whole, pod_object(case), Settings(**settings))
        found += [hit["_source"] for hit in hits]
    return found


def pod_object(case: Case) -> Document | None:
    """The Pod object: given, or as the API's answer to the request for a pod."""
    for answer in case.get("api") or ():
        if "/pods/" in answer["uri"] and isinstance(answer.get("body"), dict):
            body: Document = answer["body"]
            return body
    return case.get("pod")


def _files(case: Case) -> dict[str, list[bytes]]:
    """The raw lines by container instance: rotated files of one belong together."""
    files: dict[str, list[bytes]] = {}
    for file, raw in raw_lines(case):
        name = file.partition(".log")[0]
        files.setdefault(f"{name}.log" if name.isdecimal() else name, []).append(raw)
    return files


def raw_lines(case: Case) -> Iterator[tuple[str, bytes]]:
    """The lines as the runtime writes them, each with the name of its file, empty where the case names none."""
    if "input_repeat" in case:
        repeat = case["input_repeat"]
        unit = repeat["unit"].encode()
        yield "", repeat["prefix"].encode() + unit * (repeat["bytes"] // len(unit))
        return
    if "input_lines_b64" in case:
        yield from (("", base64.b64decode(line)) for line in case["input_lines_b64"])
        return
    for number, line in enumerate(case.get("input_lines_cri") or case["input_lines"]):
        entry = line if isinstance(line, dict) else {"message": line}
        raw = str(entry.get("line", entry.get("message"))).encode("utf-8", "surrogatepass")
        if case["kind"] not in {"cri", "metadata"} and cri.parse(raw) is None:
            raw = f"{_written(case, number)} {entry.get('stream', 'stdout')} F ".encode() + raw
        yield entry.get("file", ""), raw


def _written(case: Case, number: int) -> str:
    """When the runtime wrote a line that has no envelope: a millisecond after the one before."""
    timing = case.get("timing", {})
    after = timing.get("pause_after_line", 10**9)
    at = number * 10**6 if number < after else (number - 1) * 10**6 + timing["pause_s"] * 10**9
    return f"2026-01-01T00:00:{at // 10**9:02d}.{at % 10**9:09d}Z"


def differences(case: Case, found: list[Document]) -> Iterator[str]:
    """What a case asserts and the documents do not have."""
    check = {"cri": _lines, "multiline": _lines, "merge_json": _merged, "metadata": _metadata}[case["kind"]]
    yield from check(case, found)


def _lines(case: Case, found: list[Document]) -> Iterator[str]:
    wanted = case["expected"]
    if len(found) != len(wanted):
        yield f"{len(found)} documents for {len(wanted)} events: {[one['message'] for one in found]}"
        return
    if all("stream" in entry for entry in wanted):  # in order for each stream
        found = sorted(found, key=lambda one: str(one.get("log.iostream")))
        wanted = sorted(wanted, key=lambda entry: str(entry["stream"]))
    for one, entry in zip(found, wanted, strict=True):
        yield from _line(case, one, entry)


def _line(case: Case, one: Document, entry: dict[str, Any]) -> Iterator[str]:
    if "message_b64" in entry:
        text = base64.b64decode(entry["message_b64"]).decode("utf-8", "replace")
    elif "message_prefix_of_input" in entry:
        text = one["message"]
    else:
        text = entry.get("message", one["message"])
    if one["message"].removesuffix("\n") != text.removesuffix("\n") and one["message"] != _inner(text):
        yield f"message {one['message']!r} is not {text!r}"
    flags = one.get("log.flags", ())
    if ("unparsed" in flags) != bool(entry.get("error")):
        yield f"flags {flags}"
    if entry.get("complete") is False and "partial" not in flags:
        yield "an open end is not flagged"
    if "stream" in entry and one.get("log.iostream") != entry["stream"]:
        yield f"stream {one.get('log.iostream')}"
    if "timestamp" in entry and not _same_instant(_runtime(one), entry["timestamp"]):
        yield f"time {_runtime(one)} is not {entry['timestamp']}"
    yield from _names(case, one, entry.get("kubernetes", {}))


def _inner(text: str) -> object:
    """The message within a JSON object, for those that a case wants as they stand: we merge it."""
    try:
        body = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return body.get("message") if isinstance(body, dict) else None


def _runtime(one: Document) -> str:
    return str(one.get("log.iotime", one["@timestamp"]))


def _same_instant(ours: str, theirs: str) -> bool:
    return cri.nanoseconds(ours.encode()) == cri.nanoseconds(theirs.encode())


_NAMES = {
    "namespace": "kubernetes.namespace",
    "pod": "kubernetes.pod.name",
    "pod_uid": "kubernetes.pod.uid",
    "container": "kubernetes.container.name",
    "node": "kubernetes.node.name",
    "labels": "kubernetes.labels",
    "restart_count": "kubernetes.container.restart_count",
}


def _names(_case: Case, one: Document, wanted: dict[str, Any]) -> Iterator[str]:
    for theirs, ours in _NAMES.items():
        if theirs in wanted and str(one.get(ours)) != str(wanted[theirs]):
            yield f"{ours} {one.get(ours)!r} is not {wanted[theirs]!r}"


def _metadata(case: Case, found: list[Document]) -> Iterator[str]:
    for one in found:
        yield from _names(case, one, case.get("core_expected", {}))


def _merged(case: Case, found: list[Document]) -> Iterator[str]:
    if len(found) != len(case["expected"]):
        yield f"{len(found)} documents"
        return
    for one, entry in zip(found, case["expected"], strict=True):
        for name, value in (*_flat(entry.get("fields", {})), *_flat(entry.get("fields_include", {}))):
            if name.startswith("error.") and case.get("config", {}).get("filebeat_json", {}).get("add_error_key"):
                continue  # the peer's own words about what it could not read
            kept, wanted = one.get(name, one.get(f"app.{name}")), value
            if name == "@timestamp":
                kept, wanted = _own_time(one, str(value))
            if name == "log.level":
                wanted = str(value).lower()
            if kept != wanted or (type(kept) is not type(wanted) and not isinstance(kept, float)):
                yield f"{name} {kept!r} is not {wanted!r}"
        for theirs, ours in (("text", "message"), ("message", "message"), ("log_level", "log.level")):
            if theirs in entry and one.get(ours) != entry[theirs]:
                yield f"{ours} {one.get(ours)!r} is not {entry[theirs]!r}"


def _own_time(one: Document, theirs: str) -> tuple[object, object]:
    """An own time far from the runtime's does not replace it, and is kept aside."""
    own = str(one.get("app.@timestamp", one["@timestamp"]))
    return cri.nanoseconds(own.encode()), cri.nanoseconds(theirs.encode())


def _flat(fields: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in fields.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def damage(case: Case, found: list[Document]) -> Iterator[str]:
    """What a hostile case may not do: lose the line, or leave a document that is no JSON."""
    lines = sum(len(lines) for lines in _files(case).values())
    if len(found) != lines:
        yield f"{len(found)} documents of {lines} lines"
    for one in found:
        if not isinstance(one.get("message"), str):
            yield f"message {one.get('message')!r}"
        orjson.dumps(one)
