"""Corrupted responses of Elasticsearch to completed requests; failed nodes; rejected documents."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from pipeline.local.process import free_ports
from pipeline.local.stack import Stack
from tests.faults import proxy as proxies
from tests.faults.conftest import SceneFactory
from tests.faults.proxy import Corruption, Proxy
from tests.faults.scene import Scene

pytestmark = pytest.mark.faults
short = pytest.mark.short


@pytest.fixture
def proxy(stack: Stack) -> Iterator[Proxy]:
    """A proxy for the Elasticsearch of this run."""
    proxy = Proxy(stack.address.es_url)
    yield proxy
    proxy.close()


@pytest.mark.parametrize(
    "corruption",
    [
        pytest.param(None, id="connection_cut"),
        pytest.param(proxies.no_response, id="no_response", marks=short),
        pytest.param(proxies.truncated, id="truncated"),
        pytest.param(proxies.malformed, id="malformed"),
        pytest.param(proxies.missing_item, id="missing_item"),
        pytest.param(proxies.html_page, id="html_page"),
    ],
)
def test_bulk_response_is_corrupted(make_scene: SceneFactory, proxy: Proxy, corruption: Corruption | None) -> None:
    scene = make_scene(CRISP_ES_URLS=proxy.url)
    scene.start()
    proxy.corruption, proxy.cut_connection = corruption, corruption is None
    scene.write(8)
    while proxy.corrupted <= 3:  # a worker on a busy machine may start late
        scene.write(1)
    proxy.corruption, proxy.cut_connection = None, False

    scene.assert_exactly_once()
    assert scene.count_dead_letters() == 0


def test_one_of_two_nodes_is_down(make_scene: SceneFactory, stack: Stack) -> None:
    scene = make_scene(CRISP_ES_URLS=f"http://127.0.0.1:{free_ports(1)[0]},{stack.address.es_url}")
    scene.start()
    scene.write(6)

    scene.assert_exactly_once()
    assert "Elasticsearch unavailable" not in scene.flow.worker.output.read_text()


def test_workers_join_and_leave_with_bulk_requests_in_flight(make_scene: SceneFactory, proxy: Proxy) -> None:
    """Every bulk request takes a second, so that each rebalance happens with some in flight."""
    proxy.delay = 1.0
    scene = make_scene(CRISP_ES_URLS=proxy.url)
    scene.start()
    other = scene.add_worker()
    for _ in range(2):
        scene.write(4)
        other.start()
        scene.write(4)
        other.stop()
    proxy.delay = 0.0

    scene.assert_exactly_once()


def test_sigterm_drains_within_the_grace_period(make_scene: SceneFactory, proxy: Proxy) -> None:
    """Pending records are acked and committed: the next worker creates no duplicate."""
    proxy.delay = 2.0
    scene = make_scene(CRISP_ES_URLS=proxy.url)
    scene.start()
    scene.write(6)
    started = time.monotonic()
    code = scene.flow.worker.stop()
    seconds = time.monotonic() - started
    proxy.delay = 0.0
    [port] = free_ports(1)
    next_worker = scene.add_worker(CRISP_WORKER_PORT=str(port))
    next_worker.start()
    scene.write(2)

    scene.assert_exactly_once()
    assert code == 0
    assert seconds < scene.flow.settings.worker_grace_seconds
    assert scene.status(port)["totals"]["documents"]["duplicate"] == 0
    scene.row.note = f"exited after {seconds:.1f} s"


def test_midnight_passes_while_elasticsearch_is_down(scene: Scene) -> None:
    midnight = time.time() // 86400 * 86400
    log = scene.container("night")
    scene.start()
    scene.write(3)
    scene.stack.elasticsearch.kill()
    for number in range(2000):
        scene.write_line_at(log, midnight - 10 + number * 0.01, f"night {number}")
    scene.write(3)
    scene.stack.start_elasticsearch()
    scene.stack.wait_elasticsearch()

    scene.assert_exactly_once()
    days = {hit["_index"] for hit in scene.hits() if hit["_source"]["kubernetes.pod.uid"] == log.uid}
    assert len(days) == 2


CONFLICTING_LINES = (
    '{"message":"m %d","event":{"sequence":%d},"clash":{"a":1}}',
    '{"message":"m %d","event":{"sequence":%d},"clash":"text"}',
    '{"message":"m %d","event":{"sequence":%d},"clash":[{"b":1},{"b":"x"}]}',
    '{"message":"m %d","event":{"sequence":%d},"clash":17}',
    '{"message":"m %d","event":{"sequence":%d},"clash":[1,"two",[3]]}',
    '{"message":"m %d","event":{"sequence":%d},"host":{"ip":"not an address"},"source":{"ip":["1.2.3.4","x"]}}',
    '{"message":"m %d","event":{"sequence":%d},"geo":{"location":"nowhere"},"kubernetes":{"pod":"x"}}',
)


def test_one_line_in_a_hundred_has_conflicting_types(scene: Scene) -> None:
    log = scene.container("clasher")
    scene.start()
    for number in range(100):
        scene.write_line(log, (CONFLICTING_LINES[number % len(CONFLICTING_LINES)] % (number, number)).encode())
        scene.write(0.2)

    scene.assert_exactly_once()
    assert scene.count_dead_letters() == 0


STRICT: dict[str, Any] = {
    "mappings": {"properties": {"n": {"type": "long"}, "k": {"type": "keyword"}}},
    "settings": {
        "index.mapping.ignore_malformed": False,
        "index.mapping.total_fields.limit": 250,
        "index.mapping.depth.limit": 20,
    },
}
REJECTED_FIELDS: dict[str, dict[str, Any]] = {
    "type": {"n": "a word"},
    "keyword": {"k": "x" * 40_000},
    "fields": {f"f{number}": number for number in range(1_200)},
}
DEEP = json.loads('{"d":' * 30 + "1" + "}" * 30)


def test_one_line_in_a_hundred_is_rejected_by_the_mapping(scene: Scene) -> None:
    """Conflicting types, over 1,000 fields, a keyword of 40,000 bytes, 30 levels, in an index with strict limits."""
    settings = {**STRICT["settings"], **_strict_field_limit(scene)}
    scene.flow.request(scene.index(), {**STRICT, "settings": settings}, "PUT")
    log = scene.container("rejected")
    kinds = [*REJECTED_FIELDS, "depth"]
    scene.start()
    for number in range(80):
        fields = REJECTED_FIELDS.get(kinds[number % len(kinds)], DEEP)
        body = {"message": f"number {number}", "event": {"sequence": number}, **fields}
        scene.write_line(log, json.dumps(body).encode())
        scene.write(0.2)

    scene.assert_exactly_once()
    assert scene.count_dead_letters() == 0
    for number in range(80):
        query = {"query": {"bool": {"filter": [{"term": {"kubernetes.pod.uid": log.uid}}, _phrase(number)]}}}
        (hit,) = scene.flow.request(f"{scene.flow.prefix}-*/_search", query)["hits"]["hits"]
        reason = hit["_source"].get("crisp.rejected.reason", "")
        assert bool(reason) == (kinds[number % len(kinds)] in REJECTED_FIELDS), (number, hit["_source"])
    safe = {"query": {"term": {"crisp.flattened.n": "a word"}}}
    assert scene.flow.request(f"{scene.flow.prefix}-*/_count", safe)["count"] == 20


def _phrase(number: int) -> dict[str, Any]:
    return {"match_phrase": {"message": f"number {number}"}}


def _strict_field_limit(scene: Scene) -> dict[str, Any]:
    """Return the setting against lenient field limits, where the server version has it."""
    old = scene.stack.address.es_version.startswith("8.11.")
    return {} if old else {"index.mapping.total_fields.ignore_dynamic_beyond_limit": False}
