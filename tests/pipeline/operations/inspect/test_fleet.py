"""The fleet's summary, page and JSON: what is worst is first, nothing is left out, everything is bounded."""

import dataclasses
from typing import Any

import orjson
import pytest

from pipeline.monitoring import shipper_problems, worker_problems
from pipeline.monitoring.problem import Severity
from pipeline.monitoring.worker_status import ContainerTraffic, NamespaceTraffic, Rejection, Traffic
from pipeline.operations.inspect import fleet_page, overview
from pipeline.operations.inspect.fleet import Process, UnknownProcess
from pipeline.operations.inspect.overview import ElasticsearchOverview, KafkaOverview, Overview
from tests.support.page_reader import ParsedPage, parse
from tests.support.statuses import NOW, SHIPPER, WORKER


def shipper(name: str, **changes: Any) -> Process:
    status = dataclasses.replace(SHIPPER, name=name, node=name, **changes)
    return Process(f"agents/{name}", shipper_problems.with_problems(status, NOW))


def worker(name: str, **changes: Any) -> Process:
    return Process(
        f"logging/{name}", worker_problems.with_problems(dataclasses.replace(WORKER, name=name, **changes), NOW)
    )


def traffic(seconds: float, *rows: tuple[str, str, int, int]) -> Traffic:
    containers = tuple(ContainerTraffic(*row) for row in rows)
    namespaces = tuple(NamespaceTraffic(row.namespace, row.lines, row.bytes) for row in containers)
    lines, size = sum(row.lines for row in containers), sum(row.bytes for row in containers)
    return Traffic(seconds, lines, size, namespaces, containers)


def fleet(*processes: Process | UnknownProcess, lag: int | None = 0) -> Overview:
    kafka = KafkaOverview("b:9092", lag, 0.0)
    return overview.assemble(processes, kafka, ElasticsearchOverview("green"), [])


def page(snapshot: Overview, stale: float = 0.0) -> ParsedPage:
    return parse(fleet_page.render(snapshot, stale, "").body.decode())


def test_talkers_are_summed_over_workers_and_link_to_the_one_with_most() -> None:
    summary = fleet(
        worker("w-1", traffic=traffic(60.0, ("shop", "app", 600, 6000), ("kube", "dns", 60, 600))),
        worker("w-2", traffic=traffic(100.0, ("shop", "app", 2000, 30000))),
    ).fleet

    assert (summary.lines_per_second, summary.bytes_per_second) == (31.0, 410.0)
    first, second = summary.containers
    assert (first.namespace, first.container, first.bytes_per_second, first.address) == (
        "shop",
        "app",
        400.0,
        "logging/w-2",
    )
    assert first.ratio == pytest.approx(400 / 410)
    assert (second.container, second.address) == ("dns", "logging/w-1")
    assert [row.namespace for row in summary.namespaces] == ["shop", "kube"]


def test_slowest_node_is_the_one_whose_line_waits_longest() -> None:
    summary = fleet(
        shipper("n-1", backlog_bytes=9000, backlog_age_seconds=3.0),
        shipper("n-2", backlog_bytes=1, backlog_age_seconds=700.0),
        shipper("n-3"),
    ).fleet

    assert [(row.node, row.address) for row in summary.slowest_nodes] == [("n-2", "agents/n-2"), ("n-1", "agents/n-1")]


def test_rejections_of_a_workload_are_summed_with_the_last_reason() -> None:
    def rejection(count: int, last_at: float, reason: str) -> Rejection:
        return Rejection("shop/app", reason, count, NOW, last_at, "i", "id")

    summary = fleet(
        worker("w-1", rejections=(rejection(3, NOW + 9, "new"), rejection(1, NOW, "old"))),
        worker("w-2", rejections=(rejection(5, NOW + 5, "middle"),)),
    ).fleet

    (row,) = summary.rejections
    assert (row.documents, row.reason, row.address) == (9, "new", "logging/w-1")


def test_page_shows_the_critical_first_and_links_each_figure() -> None:
    snapshot = fleet(
        shipper("n-1", backlog_bytes=5, backlog_age_seconds=90.0),
        worker("w-1", traffic=traffic(60.0, ("shop", "app", 600, 6000))),
        worker("w-2", rules=dataclasses.replace(WORKER.rules, problems=("line 4",))),
    )
    shown = page(snapshot)
    hrefs = [value for name, value in shown.attributes if name == "href"]

    assert "Critical" in shown.text
    assert shown.text.index("The backlog is 5 B") < shown.text.index("The rules file is invalid")
    assert {"process/agents%2Fn-1/", "process/logging%2Fw-1/", "process/logging%2Fw-2/"} <= set(hrefs)
    assert ["shop/app", "10/s", "100 B/s", "100 %"] in shown.rows
    assert [row[2] for row in shown.rows if len(row) == 4 and row[1] in {"shipper", "worker"}] == [
        "Critical",
        "Warning",
        "Healthy",
    ]


def test_process_without_an_answer_is_named_and_critical() -> None:
    snapshot = fleet(shipper("n-1"), UnknownProcess("10.0.0.9:9102", "Unreachable: timed out"))
    shown = page(snapshot)

    assert (snapshot.state, snapshot.fleet.unknown) == (Severity.CRITICAL, 1)
    assert ["10.0.0.9:9102", "Unreachable: timed out"] in shown.rows
    assert "1 that do not answer" in shown.text


def test_unknown_figures_are_not_zero() -> None:
    shown = page(fleet(UnknownProcess("a:1", "Unreachable: refused"), lag=None))

    assert "Consumer lagunknown" in shown.text
    assert "Linesunknown" in shown.text
    assert "Slowest nodeunknown" in shown.text
    assert "None since start" not in shown.text


def test_old_state_is_critical() -> None:
    shown = page(fleet(shipper("n-1"), worker("w-1")), stale=200.0)

    assert "Critical" in shown.text
    assert "it was read 3 min 20 s ago, and not since" in shown.text
    assert "Healthy" in page(fleet(shipper("n-1"), worker("w-1"))).text


def test_page_and_json_of_thousands_are_bounded_and_count_all() -> None:
    processes = [shipper(f"n-{number:04}", kafka_problem="no broker answers") for number in range(3000)]
    unknown = [UnknownProcess(f"agents/m-{number:04}", "Unreachable: timed out") for number in range(2000)]
    snapshot = fleet(*processes, *unknown)
    response = fleet_page.render(snapshot, 0.0, "")
    report = orjson.loads(orjson.dumps(fleet_page.report(snapshot)))

    assert len(response.body) < 100_000
    shown = parse(response.body.decode())
    assert "n-0000 and 2999 more" in shown.text
    assert "2,950 more, none of them worse" in shown.text
    assert "And 1,950 more" in shown.text
    assert (report["process_count"], report["problem_count"], report["fleet"]["unknown"]) == (3000, 5000, 2000)
    assert (len(report["processes"]), len(report["unknown"]), len(report["problems"])) == (200, 200, 200)


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", '"><img src=x onerror=y>', "../../x?y#z"])
def test_page_escapes_hostile_text(hostile: str) -> None:
    rejection = Rejection(hostile, hostile, 1, NOW, NOW, hostile, hostile)
    shown = page(
        fleet(
            Process(hostile, SHIPPER),
            worker(hostile, rejections=(rejection,), traffic=traffic(1.0, (hostile, hostile, 1, 1))),
            UnknownProcess(hostile, hostile),
        )
    )

    assert not {"script", "img", "form"} & set(shown.tags)
    assert not any(name.startswith("on") or name == "style" for name, _ in shown.attributes)
    hrefs = {str(value) for name, value in shown.attributes if name == "href"}
    links = {href for href in hrefs if href.startswith("process/")}
    assert links
    assert all(href.count("/") == 2 and "?" not in href for href in links)


def test_page_of_a_process_has_the_time_of_its_status_and_the_way_back() -> None:
    shown = parse(fleet_page.render_process(worker("w-1"), NOW, "").body.decode())
    hrefs = {value for name, value in shown.attributes if name == "href"}

    assert "as of 2026-09-21 14:13:20 UTC" in shown.text
    assert {"../../", "status.json"} <= hrefs
    assert "metrics" not in hrefs
