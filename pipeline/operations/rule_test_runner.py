"""Runs the tests of a rules file through the worker's own code."""

from pipeline.config.settings import Settings
from pipeline.contract import cri, record
from pipeline.contract.record import LogSlice, Segment, SourceFile
from pipeline.documents.builder import DocumentBuilder
from pipeline.rules.ruleset import Ruleset
from pipeline.rules.test_case import DEFAULT_TIME, RuleTest

NANOSECONDS_PER_SECOND = 10**9


def run_rule_tests(tests: tuple[RuleTest, ...], rules: Ruleset, settings: Settings) -> list[tuple[RuleTest, list[str]]]:
    """Return each test with the differences between actual and expected documents; none if it passed."""
    builder = DocumentBuilder(settings, rules)
    route_names = list(settings.routes)
    return [(test, _run_test(test, builder, route_names, settings)) for test in tests]


def _run_test(test: RuleTest, builder: DocumentBuilder, route_names: list[str], settings: Settings) -> list[str]:
    first = test.data.partition(b"\n")[0]
    read_at = (cri.first_time(test.data) or cri.nanoseconds(DEFAULT_TIME.encode()) or 0) + NANOSECONDS_PER_SECOND
    log_slice = LogSlice(
        value=test.data,
        files=(SourceFile(record.identity("", "", 0, first), ""),),
        segments=(Segment(0, 0, len(test.data)),),
        node="node",
        read_at=read_at,
        grouping=settings.grouping,
        pod=test.pod,
    )
    batch = builder.build(log_slice, read_at)
    return test.differences(batch.to_hits(), list(batch.dropped.elements()), route_names)
