"""A record on which crisp fails is rejected like one that violates the contract: it blocks no partition."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.environment import load_settings
from pipeline.contract.record import KafkaPosition
from pipeline.documents import slice_builder
from pipeline.documents.record_processor import RecordProcessor
from pipeline.documents.slice_builder import UNLIMITED, SliceBuilder
from pipeline.errors import RecordError
from pipeline.rules import loader
from pipeline.rules.ruleset import Ruleset

NOW = 1_795_000_000_000_000_000
ORIGIN = KafkaPosition("logs-raw", 0, 7, 1_795_000_000_000)
NAMES = (
    *("crisp", "files", "segments", "node", "read", "grouping", "pod", "gap", "path", "carried", "other"),
    *("groupings", "pods", "parts"),
)
VALUES = [b"1", b"2", b"{}", b"[]"]
PROCESSOR = RecordProcessor(load_settings({}))


def test_internal_error_is_reported_with_its_location(monkeypatch: pytest.MonkeyPatch) -> None:
    processor = RecordProcessor(load_settings({}))

    def fail(*_: object) -> None:
        raise KeyError("boom")

    monkeypatch.setattr(processor._builder, "build_in_parts", fail)
    with pytest.raises(
        RecordError, match=r"internal error of crisp.*KeyError\('boom'\) in test_record_processor.py:\d+"
    ):
        processor.process(b"2026-11-24T09:42:30.6Z stdout F x\n", [], ORIGIN, 1)


DROP = "rules: [{name: d, when: {level: debug}, drop: true}]"
ROUTE = "rules: [{name: r, when: {level: debug}, route: infra}]"
OTHER_ROUTE = "rules: [{name: r, when: {level: info}, route: infra}]"


def load_rules(text: str) -> Ruleset:
    return loader.parse(text.encode(), load_settings({})).ruleset


@pytest.mark.parametrize(
    ("before", "after", "is_changed"),
    [
        (({}, ""), ({}, ""), False),
        (({}, ""), ({"CRISP_RETENTION_DAYS": "7"}, ""), True),
        (({}, ""), ({"CRISP_ROUTES": "infra=7 audit=9"}, ""), True),
        (({}, ""), ({"CRISP_INFRA_NAMESPACES": "shop"}, ""), True),
        (({}, ""), ({"CRISP_PARSER": "none"}, ""), False),
        (({}, ""), ({}, DROP), False),
        (({}, ""), ({}, ROUTE), True),
        (({}, ROUTE), ({}, OTHER_ROUTE), True),
        (({}, ROUTE), ({"CRISP_PARSER": "none"}, ROUTE), True),
        (({}, ROUTE), ({"CRISP_BULK_MAX_BYTES": "2MiB"}, ROUTE), False),
    ],
)
def test_routing_changes_with_all_that_selects_an_index(
    before: tuple[dict[str, str], str], after: tuple[dict[str, str], str], *, is_changed: bool
) -> None:
    first, second = (
        RecordProcessor(load_settings(settings), load_rules(rules) if rules else None)
        for settings, rules in (before, after)
    )

    assert (first.routing != second.routing) is is_changed


def test_new_rules_change_the_routing() -> None:
    rules = load_rules(ROUTE)
    processor = RecordProcessor(load_settings({}))

    assert processor.changes_routing(rules)
    processor.set_rules(rules)
    assert not processor.changes_routing(rules)
    assert processor.routing == RecordProcessor(load_settings({}), rules).routing


@given(
    st.binary(max_size=200),
    st.lists(st.tuples(st.sampled_from(NAMES), st.one_of(st.binary(max_size=30), st.sampled_from(VALUES)))),
)
def test_any_record_becomes_documents_or_a_record_error(value: bytes, headers: list[tuple[str, bytes]]) -> None:
    with contextlib.suppress(RecordError):
        # `_parts` lets other errors through.
        ((batch, kind),) = PROCESSOR._parts(value, headers, ORIGIN, 1_795_000_000_000_000_000, UNLIMITED)
        assert kind in {"slice", "gap", "third_party"}
        assert (batch.size > 0) == bool(batch)


@given(st.integers(1, 40), st.integers(1, 20_000), st.sampled_from([b"log line", b'{"level":"info","message":"x"}']))
def test_parts_are_the_whole_and_bounded(lines: int, part_bytes: int, message: bytes) -> None:
    """Each part has about the size asked for, or one event; together they are the documents of the whole record."""
    value = b"".join(b"2026-11-24T09:42:30.%09dZ stdout F %b\n" % (number, message) for number in range(lines))
    whole, _ = PROCESSOR.process(value, [], ORIGIN, NOW)
    parts = [part for part, _ in PROCESSOR.process_in_parts(value, [], ORIGIN, NOW, part_bytes)]

    assert [hit for part in parts for hit in part.to_hits()] == whole.to_hits()
    assert all(part.size <= max(1.2 * part_bytes, whole.size / lines + 8) for part in parts)
    assert all(part.origin == ORIGIN for part in parts)


@pytest.mark.skipif(not slice_builder.__file__.endswith(".py"), reason="a compiled class cannot be patched")
def test_error_after_some_parts_is_a_record_error(monkeypatch: pytest.MonkeyPatch) -> None:
    processor = RecordProcessor(load_settings({}))
    value = b"".join(b"2026-11-24T09:42:30.%09dZ stdout F x\n" % number for number in range(20))
    parts = processor.process_in_parts(value, [], ORIGIN, NOW, 2000)
    next(parts)

    def fail(*_: object) -> None:
        raise KeyError("boom")

    monkeypatch.setattr(SliceBuilder, "_build_part", fail)
    with pytest.raises(RecordError, match="internal error of crisp"):
        list(parts)


DAY = 86_400 * 10**9
LINE = b"2027-01-19T10:40:00.0Z stdout F x\n"


@pytest.mark.parametrize("clock", [-400, -20, 0, 20, 400])
@pytest.mark.parametrize("days", [-20, -15, -13, 0, 1, 2, 40])
def test_age_of_a_line_is_judged_by_kafkas_time(clock: int, days: int) -> None:
    """`clock`: by how many days the worker's clock is wrong; `days`: by how many the line is after its record."""
    written_ms = (1_800_355_200 - days * 86_400) * 1000  # 2027-01-19T10:40:00Z
    ((batch, _),) = PROCESSOR.process_in_parts(LINE, [], KafkaPosition("raw", 0, 1, written_ms), NOW + clock * DAY)

    flag = "late" if days < -14 else "future" if days > 1 else ""
    (hit,) = batch.to_hits()
    assert hit["_index"] == ("logs-late" if flag else "logs-2027.01.19")
    assert hit["_source"].get("log.flags", []) == ([flag] if flag else [])
