"""Runs the tests of a rules file through the worker's own code."""

from pipeline.config import routes
from pipeline.config.settings import Settings
from pipeline.contract import cri, record
from pipeline.contract.record import LogSlice, Segment, SourceFile
from pipeline.documents.builder import DocumentBuilder
from pipeline.rules.ruleset import Ruleset
from pipeline.rules.test_case import DEFAULT_TIME, RuleTest, to_hits

NANOSECONDS_PER_SECOND = 10**9


def run_rule_tests(tests: tuple[RuleTest, ...], rules: Ruleset, settings: Settings) -> list[tuple[RuleTest, list[str]]]:
    """Each test with how what came out differs from what was expected; no differences: it passed."""
    documents = DocumentBuilder(settings, rules)
    known = list(routes.parse(settings.routes))
    return [(trial, _run_test(trial, documents, known, settings)) for trial in tests]


def _run_test(test: RuleTest, documents: DocumentBuilder, route_names: list[str], settings: Settings) -> list[str]:
    first = test.data.partition(b"\n")[0]
    read = (cri.first_time(test.data) or cri.nanoseconds(DEFAULT_TIME.encode()) or 0) + NANOSECONDS_PER_SECOND
    part = LogSlice(
        value=test.data,
        files=(SourceFile(record.identity("", "", 0, first), ""),),
        segments=(Segment(0, 0, len(test.data)),),
        node="node",
        read_at=read,
        grouping=settings.grouping,
        pod=test.pod,
    )
    parcel = documents.build(part, read)
    return test.differences(to_hits(parcel.documents), list(parcel.dropped.elements()), route_names)
