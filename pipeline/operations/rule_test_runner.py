"""Runs the tests of a rules file through the worker's own code."""

from pipeline.config import routes
from pipeline.config.settings import Settings
from pipeline.contract import cri, record
from pipeline.contract.record import LogSlice, Segment, SourceFile
from pipeline.documents.builder import Documents
from pipeline.rules.ruleset import Ruleset
from pipeline.rules.test_case import AT, Trial, hits

SECOND = 10**9


def run(trials: tuple[Trial, ...], rules: Ruleset, settings: Settings) -> list[tuple[Trial, list[str]]]:
    """Each test with how what came out differs from what was expected; no differences: it passed."""
    documents = Documents(settings, rules)
    known = list(routes.read(settings.routes))
    return [(trial, _run(trial, documents, known, settings)) for trial in trials]


def _run(trial: Trial, documents: Documents, known: list[str], settings: Settings) -> list[str]:
    first = trial.data.partition(b"\n")[0]
    read = (cri.first_time(trial.data) or cri.nanoseconds(AT.encode()) or 0) + SECOND
    part = LogSlice(
        value=trial.data,
        files=(SourceFile(record.identity("", "", 0, first), ""),),
        segments=(Segment(0, 0, len(trial.data)),),
        node="node",
        read=read,
        grouping=settings.grouping,
        pod=trial.pod,
    )
    parcel = documents.of(part, read)
    return trial.differences(hits(parcel.documents), list(parcel.dropped.elements()), known)
