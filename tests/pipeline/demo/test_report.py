"""`crisp demo --json` keeps its keys: scripts rely on them."""

from collections import Counter

import orjson
import pytest

from pipeline.demo import report
from pipeline.demo.existing_logs import ExistingLogsAudit
from pipeline.operations.audit import tally
from pipeline.operations.audit.tally import Tally


def make_audit() -> ExistingLogsAudit:
    entry = Tally("0.log", 9, 4, 1, 1, 1, 0, 0, Counter(probe=1), Counter({"bytes": 2}))
    entry.count_duplicated({"id": "x"})
    return ExistingLogsAudit([entry], tally.total([entry]), 1.5)


def test_json_of_existing_logs_has_the_keys_of_the_first_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert not report.show_existing_logs(make_audit(), [], as_json=True)

    body = orjson.loads(capsys.readouterr().out)
    (entry,) = body.pop("accounts")
    numbers = {
        "events": 9,
        "found": 4,
        "gaps": 1,
        "dead": 1,
        "waiting": 1,
        "missing": 0,
        "doubled": 1,
        "dropped": {"probe": 1},
        "unjudged": {"bytes": 2},
    }
    assert entry == {**numbers, "name": "0.log", "sample": [{"verdict": "doubled", "id": "x"}]}
    assert body == {**numbers, "name": "all", "sample": [], "seconds": 1.5, "files": 1, "good": False}


def test_report_of_existing_logs_lists_what_is_not_indexed(capsys: pytest.CaptureFixture[str]) -> None:
    report.show_existing_logs(make_audit(), [], as_json=False)

    text = capsys.readouterr().out
    assert "duplicated: 1" in text
    assert "not verified: bytes: 2" in text
    assert "pending: 1" in text
    assert "NOT every event is indexed exactly once" in text
