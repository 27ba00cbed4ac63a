"""Tests in a rules file: lines of one event, and expectations of its document. Pure.

    tests:
      - name: a failing probe is kept
        line: '10.0.0.1 - - [24/Nov/2026:10:00:00 +0000] "GET /healthz HTTP/1.1" 503 12'
        pod: {namespace: shop, pod: web-1, container: web, labels: {app: web}}
        expect: {kept: true, http.response.status_code: 503}

`line` is a line of the container (or a whole CRI line); `lines` are several lines of one event; `stream` is stdout or
stderr. Expectations: `kept`, `dropped` (true, or the rule's name), `route`, and fields by their names, each with a
value as in `when`; null for an absent field.
"""

from dataclasses import dataclass
from typing import Any

import orjson
import yaml

from pipeline.contract import cri
from pipeline.contract.json_types import JsonObject
from pipeline.rules import conditions, field_names
from pipeline.rules.conditions import Predicate
from pipeline.rules.yaml_source import Diagnostics, describe, mapping, scalar, sequence, suggestion, text_of

TEST_KEYS = ("name", "line", "lines", "stream", "pod", "expect")
POD_TEXTS = ("namespace", "pod", "container", "node", "image")
POD_MAPS = ("labels", "annotations")
DEFAULT_TIME = "2026-11-24T10:00:00.000000000Z"
"""The runtime's time of lines without one, so that the result of a test does not depend on the day."""

DEFAULT_POD = {"namespace": "default", "pod": "test", "container": "test", "node": "node"}


@dataclass(frozen=True, slots=True)
class Expectation:
    """One expectation: field name or `kept`, `dropped`, `route`; the expected value as text, and as predicate."""

    name: str
    text: str
    predicate: Predicate


@dataclass(frozen=True, slots=True)
class RuleTest:
    """One test: `data` are CRI lines, `pod` is the header `pod` of a record."""

    name: str
    line: int
    column: int
    data: bytes
    pod: bytes
    expectations: tuple[Expectation, ...]

    def differences(self, hits: list[JsonObject], dropped: list[str], routes: list[str]) -> list[str]:
        """Return each difference from the expectations as a line; none if the test passes."""
        if len(hits) + len(dropped) != 1:
            return [f"expected lines of one event, got {len(hits) + len(dropped)}"]
        source = hits[0]["_source"] if hits else {}
        route = next((name for name in routes if hits and f"-{name}." in hits[0]["_index"]), None)
        rule = dropped[0] if dropped else None
        special = {"kept": bool(hits), "dropped": rule or False, "route": route}
        differences = []
        for expectation in self.expectations:
            value = (
                special[expectation.name] if expectation.name in special else _source_value(expectation.name, source)
            )
            if expectation.name == "dropped" and rule and expectation.text == "true":
                continue
            if not expectation.predicate(value):
                reason = f" (dropped by the rule {rule!r})" if rule else ""
                differences.append(
                    f"{expectation.name}: expected {expectation.text}, got {_format_value(value)}{reason}"
                )
        return differences


def _source_value(name: str, source: JsonObject) -> Any:
    if name in source:
        return source[name]
    for root in ("kubernetes.labels", "kubernetes.annotations"):
        if name.startswith(f"{root}."):
            return (source.get(root) or {}).get(name[len(root) + 1 :])
    return None


def _format_value(value: Any) -> str:
    return "nothing" if value is None else orjson.dumps(value).decode()


def parse_tests(node: yaml.Node, diagnostics: Diagnostics) -> list[RuleTest]:
    """Parse the tests of a rules file."""
    if not isinstance(node, yaml.SequenceNode):
        diagnostics.add(node, f"expected a list of tests, got {describe(node)}")
        return []
    tests = (_parse_test(entry, diagnostics) for entry in node.value)
    return [test for test in tests if test is not None]


def _parse_test(node: yaml.Node, diagnostics: Diagnostics) -> RuleTest | None:
    pairs = mapping(node, diagnostics, "a test: a mapping with name, line and expect")
    for key, _ in pairs.values():
        if key.value not in TEST_KEYS:
            diagnostics.add(
                key, f'unknown key "{key.value}"{suggestion(key.value, TEST_KEYS)}: expected {", ".join(TEST_KEYS)}'
            )
    if ("line" in pairs) == ("lines" in pairs):
        diagnostics.add(node, 'expected either "line" or "lines"')
        return None
    for required in ("name", "expect"):
        if required not in pairs:
            diagnostics.add(node, f'missing key "{required}"')
            return None
    stream = text_of(pairs["stream"][1], diagnostics, "stdout or stderr") if "stream" in pairs else "stdout"
    if stream not in ("stdout", "stderr"):
        diagnostics.add(pairs["stream"][1], f'expected stdout or stderr, got "{stream}"')
    line_node = pairs["line" if "line" in pairs else "lines"][1]
    lines = [
        _to_cri_lines(str(scalar(entry, diagnostics, "a line as text") or ""), entry, stream)
        for entry in sequence(line_node)
    ]
    pod = _parse_pod(pairs["pod"][1], diagnostics) if "pod" in pairs else _pod_metadata({})
    mark = node.start_mark
    name = text_of(pairs["name"][1], diagnostics, "a name")
    expectations = _parse_expectations(pairs["expect"][1], diagnostics)
    return RuleTest(name, mark.line + 1, mark.column + 1, b"".join(lines), pod, tuple(expectations))


def _to_cri_lines(text: str, node: yaml.Node, stream: str) -> bytes:
    """Return text as CRI lines: unchanged if it is one, else as the container runtime would write it."""
    if isinstance(node, yaml.ScalarNode) and node.style is None:
        text = node.value
    raw = text.removesuffix("\n").encode("utf-8", "replace")
    if cri.parse(raw) is not None:
        return raw + b"\n"
    return b"".join(f"{DEFAULT_TIME} {stream} F ".encode() + line + b"\n" for line in raw.split(b"\n"))


def _parse_pod(node: yaml.Node, diagnostics: Diagnostics) -> bytes:
    known = (*POD_TEXTS, *POD_MAPS)
    fields: JsonObject = {}
    for key, value in mapping(node, diagnostics, f"a mapping of {', '.join(known)}").values():
        if key.value in POD_TEXTS:
            fields[key.value] = text_of(value, diagnostics, f"the {key.value}")
        elif key.value in POD_MAPS:
            inner = mapping(value, diagnostics, f"a mapping of {key.value}")
            fields[key.value] = {name.value: text_of(text, diagnostics, "text") for name, text in inner.values()}
        else:
            diagnostics.add(
                key, f'unknown key "{key.value}"{suggestion(key.value, known)}: expected {", ".join(known)}'
            )
    return _pod_metadata(fields)


def _pod_metadata(fields: JsonObject) -> bytes:
    return orjson.dumps({**DEFAULT_POD, "uid": "00000000-0000-0000-0000-000000000000", "restart": 0, **fields})


def _parse_expectations(node: yaml.Node, diagnostics: Diagnostics) -> list[Expectation]:
    pairs = mapping(node, diagnostics, "a mapping of kept, dropped, route or a field to its value")
    if not pairs and isinstance(node, yaml.MappingNode):
        diagnostics.add(node, "expected kept, dropped, route or a field, got an empty mapping")
    expectations = []
    for key, value in pairs.values():
        name = field_names.full_name(key.value)
        text = (
            "nothing"
            if isinstance(value, yaml.ScalarNode) and scalar(value, diagnostics, "") is None
            else _node_text(value)
        )
        if key.value in ("kept", "dropped", "route"):
            name = key.value
        expectations.append(Expectation(name, text, conditions.parse(name, value, diagnostics).predicate))
    return expectations


def _node_text(node: yaml.Node) -> str:
    if isinstance(node, yaml.ScalarNode):
        return str(node.value)
    if isinstance(node, yaml.SequenceNode):
        return " or ".join(_node_text(entry) for entry in node.value)
    return ", ".join(f"{_node_text(key)} {_node_text(value)}" for key, value in node.value)
