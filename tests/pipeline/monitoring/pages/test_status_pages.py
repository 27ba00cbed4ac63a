"""The pages of worker and shipper, rendered from their statuses."""

import dataclasses

import pytest

from pipeline.monitoring import runbook, shipper_problems, worker_problems
from pipeline.monitoring.metrics import BEYOND_BUCKETS
from pipeline.monitoring.pages import shipper_page, worker_page
from pipeline.monitoring.shipper_status import Backlog, ExcludedContainers
from pipeline.monitoring.status import Latency
from pipeline.monitoring.worker_status import PartitionLag, Rejection
from tests.support.page_reader import parse
from tests.support.statuses import NOW, SHIPPER, WORKER, with_value


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", '"><img src=x onerror=y>', "\x1b]0;x\x07\u202e"])
def test_page_escapes_hostile_text(hostile: str) -> None:
    rejection = Rejection(hostile, hostile, 1, NOW, NOW, hostile, hostile)
    worker_status = dataclasses.replace(
        WORKER, rejections=(rejection,), name=hostile, settings={"A": hostile}, lag_problem=hostile
    )
    shipper_status = dataclasses.replace(
        SHIPPER, backlogs=(Backlog(hostile, hostile, hostile, 1, None),), kafka_problem=hostile
    )
    worker = worker_page.render(worker_problems.with_problems(worker_status, NOW), hostile)
    shipper = shipper_page.render(shipper_problems.with_problems(shipper_status, NOW), "")

    for page in (worker, shipper):
        parsed = parse(page.body.decode())
        assert not {"script", "img", "iframe", "object", "form"} & set(parsed.tags)
        links = [value for name, value in parsed.attributes if name in {"href", "src", "action"}]
        runbooks = {f"?runbook={name}" for name in runbook.names()}
        assert set(links) <= {"?", "?refresh=0", "status.json", "metrics", "data:,", *runbooks}
        assert not any(name.startswith("on") or name == "style" for name, _ in parsed.attributes)


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
    status = dataclasses.replace(
        SHIPPER,
        exclusions=(ExcludedContainers("shop", "pod excludes its stderr", 3),),
        invalid_annotations=("logs.crisp/parser: no parser '<b>'",),
    )
    page = shipper_page.render(status, "").body.decode()

    assert "pod excludes its stderr" in page
    assert "no parser &#x27;&lt;b&gt;&#x27;" in page or "no parser '&lt;b&gt;'" in page
    assert "Excluded containers" not in shipper_page.render(SHIPPER, "").body.decode()


def test_page_without_problems_is_healthy() -> None:
    assert "Every received line is indexed or in flight." in worker_page.render(WORKER, "").body.decode()
    assert "No backlog: all lines are acknowledged or in flight." in shipper_page.render(SHIPPER, "").body.decode()


@pytest.mark.parametrize(
    ("enabled", "problem", "state"), [(True, "", "ok"), (True, "no answer", "no answer"), (False, "", "disabled")]
)
def test_page_shows_the_state_of_pod_metadata(enabled: bool, problem: str, state: str) -> None:  # noqa: FBT001
    status = dataclasses.replace(SHIPPER, pod_metadata_enabled=enabled, pod_metadata_problem=problem)

    assert ["pod metadata", state] in parse(shipper_page.render(status, "").body.decode()).rows


@pytest.mark.parametrize(
    ("problem", "measured_at", "note"),
    [("no broker", NOW, "last 1,004 at 2026-09-21 14:13:20 UTC"), ("", None, "never read")],
)
def test_page_shows_an_unknown_lag_not_zero(problem: str, measured_at: float | None, note: str) -> None:
    lag = (PartitionLag(0, 1004, 9, 1.0, 0, 1004, 0, 0.0, "time"),)
    status = dataclasses.replace(WORKER, lag=lag, lag_problem=problem, lag_measured_at=measured_at)

    text = parse(worker_page.render(status, "").body.decode()).text

    assert f"Consumer lagunknown{note}" in text
    assert "records are committed" not in text


def test_page_shows_a_latency_beyond_the_buckets_as_over_the_last_one() -> None:
    latency = Latency(9, 2.0, BEYOND_BUCKETS, ())
    status = with_value(WORKER, "history.latency.indexed", latency)

    rows = parse(worker_page.render(status, "").body.decode()).rows
    assert ["indexed", "9", "2.0 s", "over 1 min 0 s"] in [row[:4] for row in rows]
