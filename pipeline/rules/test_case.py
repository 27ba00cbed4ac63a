"""The tests in a rules file: lines, and what is expected of the one document that they become. Pure.

    tests:
      - name: a failing probe is kept
        line: '10.0.0.1 - - [24/Nov/2026:10:00:00 +0000] "GET /healthz HTTP/1.1" 503 12'
        pod: {namespace: shop, pod: web-1, container: web, labels: {app: web}}
        expect: {kept: true, http.response.status_code: 503}

`line` is what the container wrote (or a whole CRI line); `lines` are several of one event; `stream` is stdout or
stderr. Expected: `kept`, `dropped` (true, or the rule's name), `route`, and fields by their names, each with a value
as in `when`; null for a field that is not there.
"""

from dataclasses import dataclass
from typing import Any

import orjson
import yaml

from pipeline.contract import cri
from pipeline.rules import conditions, field_names
from pipeline.rules.conditions import Predicate
from pipeline.rules.yaml_source import Diagnostics, describe, mapping, scalar, sequence, suggestion, text_of

TEST_KEYS = ("name", "line", "lines", "stream", "pod", "expect")
POD_TEXTS = ("namespace", "pod", "container", "node", "image")
POD_MAPS = ("labels", "annotations")
DEFAULT_TIME = "2026-11-24T10:00:00.000000000Z"
"""The runtime's time of lines that name none, so that a test means the same on every day."""

DEFAULT_POD = {"namespace": "default", "pod": "test", "container": "test", "node": "node"}


@dataclass(frozen=True, slots=True)
class Expectation:
    """One expectation: what is looked at, in words what it should be, and the test."""

    name: str
    text: str
    predicate: Predicate


@dataclass(frozen=True, slots=True)
class RuleTest:
    """One test: `data` are CRI lines, `pod` the metadata as it travels."""

    name: str
    line: int
    column: int
    data: bytes
    pod: bytes
    expectations: tuple[Expectation, ...]

    def differences(self, hits: list[dict[str, Any]], dropped: list[str], routes: list[str]) -> list[str]:
        """How what came out differs from what was expected, a line each; none if the test passes."""
        if len(hits) + len(dropped) != 1:
            return [f"expected lines of one event, found {len(hits) + len(dropped)}"]
        source = hits[0]["_source"] if hits else {}
        route = next((name for name in routes if hits and f"-{name}." in hits[0]["_index"]), None)
        rule = dropped[0] if dropped else None
        special = {"kept": bool(hits), "dropped": rule or False, "route": route}
        differences = []
        for one in self.expectations:
            value = special[one.name] if one.name in special else _source_value(one.name, source)
            if one.name == "dropped" and rule and one.text == "true":
                continue
            if not one.predicate(value):
                fate = f" (dropped by the rule {rule!r})" if rule else ""
                differences.append(f"{one.name}: expected {one.text}, found {_format_value(value)}{fate}")
        return differences


def _source_value(name: str, source: dict[str, Any]) -> Any:
    if name in source:
        return source[name]
    for root in ("kubernetes.labels", "kubernetes.annotations"):
        if name.startswith(f"{root}."):
            return (source.get(root) or {}).get(name[len(root) + 1 :])
    return None


def _format_value(value: Any) -> str:
    return "nothing" if value is None else orjson.dumps(value).decode()


def to_hits(documents: list[bytes]) -> list[dict[str, Any]]:
    """Documents of a bulk body as Elasticsearch's hits."""
    made = []
    for document in documents:
        action, source, _ = document.split(b"\n")
        made.append({**orjson.loads(action)["create"], "_source": orjson.loads(source)})
    return made


def parse_tests(node: yaml.Node, faults: Diagnostics) -> list[RuleTest]:
    """The tests of a file."""
    if not isinstance(node, yaml.SequenceNode):
        faults.add(node, f"expected a list of tests, found {describe(node)}")
        return []
    trials = (_parse_test(entry, faults) for entry in node.value)
    return [trial for trial in trials if trial is not None]


def _parse_test(node: yaml.Node, faults: Diagnostics) -> RuleTest | None:
    pairs = mapping(node, faults, "a test: a mapping with name, line and expect")
    for key, _ in pairs.values():
        if key.value not in TEST_KEYS:
            faults.add(
                key, f'unknown key "{key.value}"{suggestion(key.value, TEST_KEYS)}: expected {", ".join(TEST_KEYS)}'
            )
    if ("line" in pairs) == ("lines" in pairs):
        faults.add(node, 'a test has one of "line" and "lines"')
        return None
    for needed in ("name", "expect"):
        if needed not in pairs:
            faults.add(node, f'a test without "{needed}"')
            return None
    stream = text_of(pairs["stream"][1], faults, "stdout or stderr") if "stream" in pairs else "stdout"
    if stream not in ("stdout", "stderr"):
        faults.add(pairs["stream"][1], f'expected stdout or stderr, found "{stream}"')
    line_node = pairs["line" if "line" in pairs else "lines"][1]
    lines = [
        _to_cri_lines(str(scalar(one, faults, "a line as text") or ""), one, stream) for one in sequence(line_node)
    ]
    pod = _parse_pod(pairs["pod"][1], faults) if "pod" in pairs else _pod_metadata({})
    mark = node.start_mark
    name = text_of(pairs["name"][1], faults, "a name")
    expected = _parse_expectations(pairs["expect"][1], faults)
    return RuleTest(name, mark.line + 1, mark.column + 1, b"".join(lines), pod, tuple(expected))


def _to_cri_lines(text: str, node: yaml.Node, stream: str) -> bytes:
    """Text as CRI lines: as it is where it is one, else as the runtime would have written it."""
    if isinstance(node, yaml.ScalarNode) and node.style is None:
        text = node.value
    raw = text.removesuffix("\n").encode("utf-8", "replace")
    if cri.parse(raw) is not None:
        return raw + b"\n"
    return b"".join(f"{DEFAULT_TIME} {stream} F ".encode() + line + b"\n" for line in raw.split(b"\n"))


def _parse_pod(node: yaml.Node, faults: Diagnostics) -> bytes:
    known = (*POD_TEXTS, *POD_MAPS)
    fields: dict[str, Any] = {}
    for key, value in mapping(node, faults, f"a mapping of {', '.join(known)}").values():
        if key.value in POD_TEXTS:
            fields[key.value] = text_of(value, faults, f"the {key.value}")
        elif key.value in POD_MAPS:
            inner = mapping(value, faults, f"a mapping of {key.value}")
            fields[key.value] = {name.value: text_of(text, faults, "text") for name, text in inner.values()}
        else:
            faults.add(key, f'unknown key "{key.value}"{suggestion(key.value, known)}: expected {", ".join(known)}')
    return _pod_metadata(fields)


def _pod_metadata(fields: dict[str, Any]) -> bytes:
    return orjson.dumps({**DEFAULT_POD, "uid": "00000000-0000-0000-0000-000000000000", "restart": 0, **fields})


def _parse_expectations(node: yaml.Node, faults: Diagnostics) -> list[Expectation]:
    pairs = mapping(node, faults, "what is expected: a mapping of kept, dropped, route or a field, and its value")
    if not pairs and isinstance(node, yaml.MappingNode):
        faults.add(node, "expected kept, dropped, route or a field, found an empty mapping")
    expected = []
    for key, value in pairs.values():
        name = field_names.full_name(key.value)
        said = (
            "nothing" if isinstance(value, yaml.ScalarNode) and scalar(value, faults, "") is None else _node_text(value)
        )
        if key.value in ("kept", "dropped", "route"):
            name = key.value
        expected.append(Expectation(name, said, conditions.parse(name, value, faults).predicate))
    return expected


def _node_text(node: yaml.Node) -> str:
    if isinstance(node, yaml.ScalarNode):
        return str(node.value)
    if isinstance(node, yaml.SequenceNode):
        return " or ".join(_node_text(one) for one in node.value)
    return ", ".join(f"{_node_text(key)} {_node_text(value)}" for key, value in node.value)
