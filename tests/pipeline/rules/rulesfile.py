"""Rules files in tests: read from text, tried on lines."""

from typing import Any

import orjson

from pipeline.config.settings import Settings
from pipeline.contract.record import Grouping, LogSlice, Segment, SourceFile
from pipeline.documents.builder import DocumentBatch, DocumentBuilder
from pipeline.rules.context import RuleContext
from pipeline.rules.parser import ParsedRules, parse_rules_file
from pipeline.rules.test_case import to_hits

NOW = 1_795_513_350 * 10**9  # 2026-11-24T09:42:30Z
HOOKS: dict[str, Any] = {}


def _hook(name: str) -> tuple[Any, bytes]:
    if name not in HOOKS:
        raise ValueError(f"no hook {name}")
    return HOOKS[name], name.encode()


CONTEXT = RuleContext(("infra", "audit"), 200, _hook)
POD = {"namespace": "shop", "pod": "pay-1", "uid": "u", "container": "pay", "node": "n-1", "labels": {"app": "pay"}}


def metadata(**more: Any) -> bytes:
    """The pod of these tests as it travels."""
    return orjson.dumps({**POD, **more})


def parse_valid(text: str) -> ParsedRules:
    """A rules file that must be without faults."""
    found = parse_rules_file(text.encode(), "rules.yaml", CONTEXT)
    assert found.problems == []
    return found


def list_problems(text: str | bytes) -> list[str]:
    """The faults of a rules file."""
    return parse_rules_file(text if isinstance(text, bytes) else text.encode(), "rules.yaml", CONTEXT).problems


def build_batch(rules: str, *contents: str, stream: str = "stdout", pod: dict[str, Any] | None = None) -> DocumentBatch:
    """What becomes of lines under rules; each a line of its own."""
    value = b"".join(f"2026-11-24T09:42:30Z {stream} F {content}\n".encode() for content in contents)
    part = LogSlice(
        value=value,
        files=(SourceFile("AAAAAAAAAAAAAAAA", ""),),
        segments=(Segment(0, 0, len(value)),),
        node="n-1",
        read_at=NOW,
        grouping=Grouping(mode="off"),
        pod=metadata(**(pod or {})),
    )
    settings = Settings(routes="infra=7 audit=365")
    return DocumentBuilder(settings, parse_valid(rules).ruleset).build(part, NOW)


def sources(rules: str, *contents: str, **about: Any) -> list[dict[str, Any]]:
    """The documents of lines under rules."""
    return [hit["_source"] for hit in to_hits(build_batch(rules, *contents, **about).documents)]


def matches(when: str, content: str, **about: Any) -> bool:
    """Whether a condition, YAML in one line, is met by a line."""
    return not sources(f"rules: [{{name: it, when: {when}, drop: true}}]", content, **about)
