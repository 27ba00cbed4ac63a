"""Problems by status: each changed value results in one problem."""

import copy
import functools
from typing import Any

import pytest

from pipeline.config.environment import non_defaults
from pipeline.config.settings import Settings
from pipeline.monitoring import health, runbook
from pipeline.monitoring.health import Severity
from pipeline.monitoring.last_increase import LastIncrease
from pipeline.monitoring.pages import shipper_page, worker_page
from tests.support.page_reader import parse

NOW = 1_790_000_000.0
AGES: dict[str, Any] = {"count": 0, "p50": None, "p99": None, "p99_line": []}
COMMON = {"name": "n", "version": "0", "started": NOW, "well": "No problem.", "settings": {}}
WORKER: dict[str, Any] = {
    **COMMON,
    "kind": "worker",
    "partitions": ["logs-raw/0"],
    "lag": [{"partition": 0, "records": 0, "bytes": 0, "seconds": 0.0, "committed": 5, "end": 5, "held_from": 0}],
    "lag_trouble": "",
    "dead_trouble": "",
    "retention_seconds": 86400.0,
    "events": 10,
    "documents": {"created": 9, "duplicate": 0, "fallback": 0, "extended": 0, "dead_lettered": 0},
    "dropped": {"health probe": 1},
    "records": {"slice": 3},
    "accounts": {"settled": 9, "in_work": 0, "slices_in_work": 0},
    "in_work_bytes": 0,
    "budget_bytes": 1,
    "topic_raw": "logs-raw",
    "topic_dead": "logs-dead",
    "elasticsearch": {"urls": "http://es.invalid", "failing_since": None, "fault": "", "trouble": ""},
    "refusals": [],
    "rules": {"file": "rules.yaml", "digest": "abc", "rules": ["no debug"], "refused": []},
    "refusal_flood": False,
    "lost_records": 0,
    "risen": {"gaps": None, "dead": None},
    "history": {
        "rates": {
            name: [] for name in ("crisp_worker_events", "crisp_worker_documents", "crisp_worker_received_bytes")
        },
        "levels": {"crisp_worker_consumer_lag_records": []},
        "ages": {"consumed": AGES, "indexed": AGES, "searchable": AGES},
    },
}
SHIPPER: dict[str, Any] = {
    **COMMON,
    "kind": "shipper",
    "kafka": "ok",
    "checkpoint": "ok",
    "pods": "ok",
    "containers": 1,
    "excluded_containers": 0,
    "kept_out": [],
    "refused_annotations": [],
    "open_files": 1,
    "unread_bytes": 0,
    "unread_seconds": 0.0,
    "in_flight_bytes": 0,
    "silent_seconds": 0.0,
    "acknowledged_bytes": 0,
    "slices": {"acked": 0, "failed": 0},
    "backlogs": [],
    "gaps": [],
    "history": {
        "rates": {"crisp_shipper_acked_bytes": []},
        "levels": {"crisp_shipper_backlog_bytes": [], "crisp_shipper_in_flight_bytes": []},
        "ages": {"read": AGES, "acked": AGES},
    },
}


GAP = {"namespace": "shop", "pod": "pay-1", "container": "pay", "bytes": 5, "reason": "vanished file"}


def with_value(status: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(status)
    *parts, last = path.split(".")
    inner = changed
    for part in parts:
        inner = inner[int(part)] if isinstance(inner, list) else inner[part]
    inner[last] = value
    return changed


@pytest.mark.parametrize("status", [WORKER, SHIPPER], ids=["worker", "shipper"])
def test_status_without_problem_is_healthy(status: dict[str, Any]) -> None:
    assert health.find_problems(status, NOW) == []


@pytest.mark.parametrize(
    ("status", "path", "value", "severity", "runbook"),
    [
        (WORKER, "elasticsearch.failing_since", NOW - 30, Severity.CRITICAL, "elasticsearch"),
        (WORKER, "elasticsearch.trouble", "no template", Severity.CRITICAL, "elasticsearch"),
        (WORKER, "accounts.in_work", 3, Severity.CRITICAL, "event-totals-mismatch"),
        (WORKER, "lag.0.seconds", 70.0, Severity.WARNING, "lag"),
        (WORKER, "lag.0.seconds", 50_000.0, Severity.CRITICAL, "retention"),
        (WORKER, "lag_trouble", "no broker", Severity.WARNING, "lag"),
        (WORKER, "dead_trouble", "no such topic", Severity.CRITICAL, "dead-letters"),
        (WORKER, "partitions", [], Severity.WARNING, "lag"),
        (WORKER, "risen.dead", NOW - 1700, Severity.WARNING, "dead-letters"),
        (WORKER, "risen.gaps", NOW - 1700, Severity.CRITICAL, "gap"),
        (WORKER, "refusal_flood", True, Severity.CRITICAL, "rejected-documents"),
        (WORKER, "rules.refused", ["line 3", "line 4"], Severity.WARNING, "rules-reload-failed"),
        (WORKER, "history.ages.searchable", {**AGES, "count": 3, "p99": 6.0}, Severity.WARNING, "search-latency"),
        (SHIPPER, "kafka", "Kafka cannot be reached", Severity.CRITICAL, "shipper-backlog"),
        (SHIPPER, "silent_seconds", 11.0, Severity.CRITICAL, "shipper-backlog"),
        (SHIPPER, "unread_seconds", 61.0, Severity.CRITICAL, "shipper-backlog"),
        (SHIPPER, "pods", "no answer", Severity.WARNING, "pod-metadata"),
        (SHIPPER, "gaps", [{**GAP, "time": NOW - 1700}], Severity.CRITICAL, "gap"),
    ],
)
def test_changed_value_is_one_problem(
    status: dict[str, Any], path: str, value: Any, severity: Severity, runbook: str
) -> None:
    (problem,) = health.find_problems(with_value(status, path, value), NOW)

    assert (problem.severity, problem.runbook) == (severity, runbook)


@pytest.mark.parametrize(
    ("status", "path", "value"),
    [
        (WORKER, "risen.dead", NOW - 1900),
        (WORKER, "risen.gaps", NOW - 1900),
        (SHIPPER, "gaps", [{**GAP, "time": NOW - 1900}]),
    ],
)
def test_old_loss_is_no_problem(status: dict[str, Any], path: str, value: Any) -> None:
    assert health.find_problems(with_value(status, path, value), NOW) == []


def test_last_increase_has_the_time_of_the_increase() -> None:
    counts = {"gaps": 0.0, "dead": 2.0}
    increases = LastIncrease({name: functools.partial(counts.__getitem__, name) for name in counts})
    increases.update(10.0)
    counts["gaps"] = 1.0
    increases.update(15.0)
    increases.update(20.0)

    assert increases.snapshot() == {"gaps": 15.0, "dead": 10.0}


def test_problems_are_sorted_by_severity() -> None:
    status = with_value(with_value(WORKER, "risen.dead", NOW), "elasticsearch.trouble", "no template")

    assert [problem.severity for problem in health.find_problems(status, NOW)] == [Severity.CRITICAL, Severity.WARNING]


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", '"><img src=x onerror=y>', "\x1b]0;x\x07\u202e"])
def test_page_escapes_hostile_text(hostile: str) -> None:
    rejection = {"workload": hostile, "reason": hostile, "count": 1, "last": NOW, "index": hostile, "example": hostile}
    worker = worker_page.render(
        {**WORKER, "refusals": [rejection], "name": hostile, "settings": {"A": hostile}}, hostile
    )
    backlog = {"namespace": hostile, "pod": hostile, "container": hostile, "bytes": 1, "seconds": None}
    shipper = shipper_page.render({**SHIPPER, "backlogs": [backlog], "kafka": hostile}, "")

    for page in (worker, shipper):
        parsed = parse(page.body.decode())
        assert not {"script", "img", "iframe", "object", "form"} & set(parsed.tags)
        links = [value for name, value in parsed.attributes if name in {"href", "src", "action"}]
        runbooks = {f"/?runbook={name}" for name in runbook.names()}
        assert set(links) <= {"/", "/?refresh=0", "/status.json", "/metrics", "data:,", *runbooks}
        assert not any(name.startswith("on") or name == "style" for name, _ in parsed.attributes)


def test_settings_are_shown_without_secrets_and_credentials() -> None:
    effective = Settings(
        es_password="hunter2",  # noqa: S106 - a test value
        es_user="u",
        es_urls=("https://u:hunter2@es.invalid:9200", "http://b.invalid"),
    )

    assert non_defaults(effective) == {
        "ES_PASSWORD": "set, not shown",
        "ES_USER": "u",
        "CRISP_ES_URLS": "https://es.invalid:9200,http://b.invalid",
    }


@pytest.mark.parametrize("name", runbook.names())
def test_page_shows_a_runbook_instead_of_its_sections(name: str) -> None:
    page = parse(worker_page.render(WORKER, f"runbook={name}").body.decode())
    title = runbook.text(name).partition("\n")[0].removeprefix("# ")

    assert title in page.text
    assert not {"```", "**", "]("} & {mark for mark in ("```", "**", "](") if mark in page.text}
    assert ("http-equiv", "refresh") not in page.attributes
    assert "Event totals since start" not in page.text


def test_unknown_runbook_is_ignored() -> None:
    for query in ("runbook=../../etc/passwd", "runbook=", "runbook=<script>"):
        assert "Event totals since start" in parse(worker_page.render(WORKER, query).body.decode()).text


def test_page_shows_exclusions_and_invalid_annotations() -> None:
    rows = [{"namespace": "shop", "why": "pod excludes its stderr", "containers": 3}]
    status = {**SHIPPER, "kept_out": rows, "refused_annotations": ["logs.crisp/parser: no parser '<b>'"]}
    page = shipper_page.render(status, "").body.decode()

    assert "pod excludes its stderr" in page
    assert "no parser &#x27;&lt;b&gt;&#x27;" in page or "no parser '&lt;b&gt;'" in page
    assert "Excluded containers" not in shipper_page.render(SHIPPER, "").body.decode()
