"""The conformance cases of ../shared/cases: assertions of other shippers' own tests, as input and check.

Each case takes the path of `crisp parse`. A check yields one message per difference; none if the case passes.
"""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from pipeline.cli.parse import DEFAULT_PATH, parse
from pipeline.config.settings import Settings
from pipeline.contract import cri

Case = dict[str, Any]
Document = dict[str, Any]

CASES = Path(__file__).parent.parent.parent.parent / "shared" / "cases"
MONTHS = 10.0**8
"""In seconds: two of Filebeat's cases have a month between the halves of a line."""

KNOWN_DIFFERENCES = {
    "filebeat/cri_split": "a month between the halves of a line, the gap is a minute: met with a longer one",
    "filebeat/cri_split_newline": "the same",
    "fluentbit/tail_multiline_001_json_and_regex": "frames within JSON objects: joining would lose the other fields",
}
"""Cases of the tiers core and derived that fail by default, and why; also in docs/testing.md."""

needs_cases = pytest.mark.skipif(not CASES.exists(), reason="no ../shared next to the repository")


def cases(kind: str, *tiers: str) -> list[Case]:
    """The cases of one file; none if the data is missing."""
    file = CASES / f"{kind}.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    return [case for case in rows if case["tier"] in tiers]


def documents(case: Case, **settings: Any) -> list[Document]:
    """The documents that `crisp parse` makes of a case."""
    sources: list[Document] = []
    for name, lines in _files(case).items():
        path = case.get("path") or DEFAULT_PATH
        full_path = f"{path.rpartition('/')[0]}/{name}" if name.endswith(".log") else path
        hits, _ = parse(b"".join(line + b"\n" for line in lines), full_path, pod_object(case), Settings(**settings))
        sources += [hit["_source"] for hit in hits]
    return sources


def pod_object(case: Case) -> Document | None:
    """The Pod object of a case, or in the API's response of a case."""
    for response in case.get("api") or ():
        if "/pods/" in response["uri"] and isinstance(response.get("body"), dict):
            body: Document = response["body"]
            return body
    return case.get("pod")


def _files(case: Case) -> dict[str, list[bytes]]:
    """The raw lines by container instance, rotated files included."""
    files: dict[str, list[bytes]] = {}
    for file, raw in raw_lines(case):
        name = file.partition(".log")[0]
        files.setdefault(f"{name}.log" if name.isdecimal() else name, []).append(raw)
    return files


def raw_lines(case: Case) -> Iterator[tuple[str, bytes]]:
    """The lines as the runtime writes them, each with the name of its file (empty: the case has none)."""
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
            raw = f"{_write_time(case, number)} {entry.get('stream', 'stdout')} F ".encode() + raw
        yield entry.get("file", ""), raw


def _write_time(case: Case, number: int) -> str:
    """The time for a line without CRI envelope: a millisecond after the previous line."""
    timing = case.get("timing", {})
    pause_after = timing.get("pause_after_line", 10**9)
    elapsed = number * 10**6 if number < pause_after else (number - 1) * 10**6 + timing["pause_s"] * 10**9
    return f"2026-01-01T00:00:{elapsed // 10**9:02d}.{elapsed % 10**9:09d}Z"


def differences(case: Case, actual: list[Document]) -> Iterator[str]:
    """The assertions of a case that its documents do not meet."""
    check = {"cri": _check_lines, "multiline": _check_lines, "merge_json": _check_merged, "metadata": _check_metadata}[
        case["kind"]
    ]
    yield from check(case, actual)


def _check_lines(case: Case, actual: list[Document]) -> Iterator[str]:
    expected = case["expected"]
    if len(actual) != len(expected):
        yield f"{len(actual)} documents for {len(expected)} events: {[document['message'] for document in actual]}"
        return
    if all("stream" in entry for entry in expected):  # in order for each stream
        actual = sorted(actual, key=lambda document: str(document.get("log.iostream")))
        expected = sorted(expected, key=lambda entry: str(entry["stream"]))
    for document, entry in zip(actual, expected, strict=True):
        yield from _check_line(case, document, entry)


def _check_line(case: Case, document: Document, entry: dict[str, Any]) -> Iterator[str]:
    text: str
    if "message_b64" in entry:
        text = base64.b64decode(entry["message_b64"]).decode("utf-8", "replace")
    elif "message_prefix_of_input" in entry:
        text = document["message"]
    else:
        text = str(entry.get("message", document["message"]))
    if document["message"].removesuffix("\n") != text.removesuffix("\n") and document["message"] != _inner(text):
        yield f"message {document['message']!r} is not {text!r}"
    flags = document.get("log.flags", ())
    if ("unparsed" in flags) != bool(entry.get("error")):
        yield f"flags {flags}"
    if entry.get("complete") is False and "partial" not in flags:
        yield "an incomplete line is not flagged"
    if "stream" in entry and document.get("log.iostream") != entry["stream"]:
        yield f"stream {document.get('log.iostream')}"
    if "timestamp" in entry and not _same_instant(_runtime(document), entry["timestamp"]):
        yield f"time {_runtime(document)} is not {entry['timestamp']}"
    yield from _check_names(case, document, entry.get("kubernetes", {}))


def _inner(text: str) -> object:
    """The message within a JSON object that a case expects verbatim: crisp merges it."""
    try:
        body = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return body.get("message") if isinstance(body, dict) else None


def _runtime(document: Document) -> str:
    return str(document.get("log.iotime", document["@timestamp"]))


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


def _check_names(_case: Case, document: Document, expected: dict[str, Any]) -> Iterator[str]:
    for theirs, ours in _NAMES.items():
        if theirs in expected and str(document.get(ours)) != str(expected[theirs]):
            yield f"{ours} {document.get(ours)!r} is not {expected[theirs]!r}"


def _check_metadata(case: Case, actual: list[Document]) -> Iterator[str]:
    for document in actual:
        yield from _check_names(case, document, case.get("core_expected", {}))


def _check_merged(case: Case, actual: list[Document]) -> Iterator[str]:
    if len(actual) != len(case["expected"]):
        yield f"{len(actual)} documents"
        return
    for document, entry in zip(actual, case["expected"], strict=True):
        for name, value in (*_flat(entry.get("fields", {})), *_flat(entry.get("fields_include", {}))):
            if name.startswith("error.") and case.get("config", {}).get("filebeat_json", {}).get("add_error_key"):
                continue  # the other shipper's own error message
            kept, expected = document.get(name, document.get(f"app.{name}")), value
            if name == "@timestamp":
                kept, expected = _application_time(document, str(value))
            if name == "log.level":
                expected = str(value).lower()
            if kept != expected or (type(kept) is not type(expected) and not isinstance(kept, float)):
                yield f"{name} {kept!r} is not {expected!r}"
        for theirs, ours in (("text", "message"), ("message", "message"), ("log_level", "log.level")):
            if theirs in entry and document.get(ours) != entry[theirs]:
                yield f"{ours} {document.get(ours)!r} is not {entry[theirs]!r}"


def _application_time(document: Document, theirs: str) -> tuple[object, object]:
    """An application's time far from the runtime's does not replace it, and is kept as `app.@timestamp`."""
    application_time = str(document.get("app.@timestamp", document["@timestamp"]))
    return cri.nanoseconds(application_time.encode()), cri.nanoseconds(theirs.encode())


def _flat(fields: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in fields.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def damage(case: Case, actual: list[Document]) -> Iterator[str]:
    """The damage done by a hostile case: a lost line, or a document that is not JSON."""
    lines = sum(len(lines) for lines in _files(case).values())
    if len(actual) != lines:
        yield f"{len(actual)} documents of {lines} lines"
    for document in actual:
        if not isinstance(document.get("message"), str):
            yield f"message {document.get('message')!r}"
        orjson.dumps(document)
