"""Runs the tests of a rules file through the worker's own code."""

from pipeline import cri, grouping, record, routes
from pipeline.document import Documents
from pipeline.record import LogSlice, Segment, SourceFile
from pipeline.rules.ruleset import Ruleset
from pipeline.rules.trial import AT, Trial, hits
from pipeline.settings import Settings

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
        grouping=grouping.by(settings),
        pod=trial.pod,
    )
    parcel = documents.of(part, read)
    return trial.differences(hits(parcel.documents), list(parcel.dropped.elements()), known)
