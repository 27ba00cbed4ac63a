"""Rules files for tests: parsed from text, applied to lines."""

from typing import Any

import orjson

from pipeline.config.settings import Settings
from pipeline.contract.record import Grouping, LogSlice, Segment, SourceFile
from pipeline.documents.batch import DocumentBatch
from pipeline.documents.builder import DocumentBuilder
from pipeline.rules.context import RuleContext
from pipeline.rules.parser import ParsedRules
from pipeline.rules.parser import parse_rules_file as parse_rules_file

NOW = 1_795_513_350 * 10**9  # 2026-11-24T09:42:30Z
HOOKS: dict[str, Any] = {}


def _hook(name: str) -> tuple[Any, bytes]:
    if name not in HOOKS:
        raise ValueError(f"no hook {name}")
    return HOOKS[name], name.encode()


CONTEXT = RuleContext(("infra", "audit"), 200, _hook)
POD = {"namespace": "shop", "pod": "pay-1", "uid": "u", "container": "pay", "node": "n-1", "labels": {"app": "pay"}}


def metadata(**more: Any) -> bytes:
    """The header `pod` of these tests' records."""
    return orjson.dumps({**POD, **more})


def parse_valid(text: str) -> ParsedRules:
    """Parse a rules file that must have no problems."""
    parsed = parse_rules_file(text.encode(), "rules.yaml", CONTEXT)
    assert parsed.problems == []
    return parsed


def list_problems(text: str | bytes) -> list[str]:
    """The problems of a rules file."""
    return parse_rules_file(text if isinstance(text, bytes) else text.encode(), "rules.yaml", CONTEXT).problems


def build_batch(rules: str, *contents: str, stream: str = "stdout", pod: dict[str, Any] | None = None) -> DocumentBatch:
    """Documents of lines, one event each, with rules."""
    value = b"".join(f"2026-11-24T09:42:30Z {stream} F {content}\n".encode() for content in contents)
    log_slice = LogSlice(
        value=value,
        files=(SourceFile("AAAAAAAAAAAAAAAA", ""),),
        segments=(Segment(0, 0, len(value)),),
        node="n-1",
        read_at=NOW,
        grouping=Grouping(mode="off"),
        pod=metadata(**(pod or {})),
    )
    settings = Settings(routes={"infra": 7, "audit": 365})
    return DocumentBuilder(settings, parse_valid(rules).ruleset).build(log_slice, NOW)


def sources(rules: str, *contents: str, **options: Any) -> list[dict[str, Any]]:
    """Sources of the documents of lines with rules."""
    return [hit["_source"] for hit in build_batch(rules, *contents, **options).to_hits()]


def matches(when: str, content: str, **options: Any) -> bool:
    """Whether a line matches a condition, YAML in one line."""
    return not sources(f"rules: [{{name: it, when: {when}, drop: true}}]", content, **options)
