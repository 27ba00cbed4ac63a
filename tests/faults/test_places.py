"""Indices and limits that reject all documents: Elasticsearch is misconfigured or full, the documents are valid."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from pipeline.local.process import free_ports
from tests.faults.conftest import SceneFactory
from tests.faults.scene import Scene
from tests.integration.flow import eventually

pytestmark = pytest.mark.faults
short = pytest.mark.short

FAILING = "Elasticsearch unavailable"


def _put(scene: Scene, path: str, body: dict[str, Any]) -> None:
    scene.flow.request(path, body, "PUT")


def _set_index_setting(scene: Scene, name: str, value: Any) -> None:
    _put(scene, f"{scene.index()}/_settings", {name: value})


def _set_cluster_settings(scene: Scene, **values: Any) -> None:
    _put(scene, "_cluster/settings", {"persistent": values})


def _close_index(scene: Scene) -> None:
    scene.flow.request(f"{scene.index()}/_close", method="POST")


def _open_index(scene: Scene) -> None:
    scene.flow.request(f"{scene.index()}/_open?wait_for_active_shards=1", method="POST")


INDEX_FAULTS = [
    pytest.param(
        lambda scene: _set_index_setting(scene, "index.blocks.write", value=True),
        lambda scene: _set_index_setting(scene, "index.blocks.write", value=False),
        id="write_block",
        marks=short,
    ),
    pytest.param(
        lambda scene: _set_index_setting(scene, "index.blocks.read_only_allow_delete", value=True),
        lambda scene: _set_index_setting(scene, "index.blocks.read_only_allow_delete", None),
        id="read_only_allow_delete",
    ),
    pytest.param(_close_index, _open_index, id="closed_index"),
    pytest.param(
        lambda scene: _set_index_setting(scene, "index.default_pipeline", "nowhere"),
        lambda scene: _set_index_setting(scene, "index.default_pipeline", None),
        id="missing_pipeline",
    ),
]


@pytest.mark.parametrize(("inject", "repair"), INDEX_FAULTS)
def test_daily_index_is_unusable(
    scene: Scene, inject: Callable[[Scene], object], repair: Callable[[Scene], object]
) -> None:
    scene.start()
    scene.write(4)
    eventually(lambda: scene.flow.count() > 0)
    inject(scene)
    scene.write(8)
    scene.wait_for_worker_log(FAILING)
    repair(scene)
    scene.write(2)

    scene.assert_exactly_once()
    assert scene.count_dead_letters() == 0
    assert scene.flow.worker.poll() is None


def test_disk_flood_stage_is_reached(scene: Scene) -> None:
    prefix = "cluster.routing.allocation.disk."
    names = [f"{prefix}watermark.{name}" for name in ("low", "high", "flood_stage")]
    scene.start()
    scene.write(3)
    try:
        _set_cluster_settings(
            scene,
            **{f"{prefix}threshold_enabled": True, "cluster.info.update.interval": "10s"},
            **dict.fromkeys(names, "0.01%"),
        )
        deadline = time.monotonic() + 90
        while FAILING not in scene.flow.worker.output.read_text() and time.monotonic() < deadline:
            scene.write(1, rate=100)
        scene.wait_for_worker_log("flood", seconds=5)
    finally:
        _set_cluster_settings(scene, **{f"{prefix}threshold_enabled": None}, **dict.fromkeys(names))
    scene.write(2)

    scene.assert_exactly_once()
    assert scene.count_dead_letters() == 0


def test_shard_limit_prevents_the_daily_index(scene: Scene) -> None:
    used = scene.flow.request("_cluster/health")["active_shards"]
    _set_cluster_settings(scene, **{"cluster.max_shards_per_node": max(1, used)})
    try:
        scene.start()
        scene.write(6)
        scene.wait_for_worker_log(FAILING)
    finally:
        _set_cluster_settings(scene, **{"cluster.max_shards_per_node": None})

    scene.assert_exactly_once()
    assert scene.count_dead_letters() == 0


def test_daily_index_is_an_alias_without_a_write_index(scene: Scene) -> None:
    day = scene.index()
    for suffix in ("a", "b"):
        _put(scene, f"{day}-{suffix}", {"aliases": {day: {}}})
    scene.start()
    scene.write(6)
    scene.wait_for_worker_log(FAILING)
    actions = [{"add": {"index": f"{day}-b", "alias": day, "is_write_index": True}}]
    scene.flow.request("_aliases", {"actions": actions})

    scene.assert_exactly_once()
    assert scene.count_dead_letters() == 0


def test_index_template_is_missing_on_a_new_day(make_scene: SceneFactory) -> None:
    """Lines of a day without an index wait for the template; nothing is written into an index created without it."""
    [port] = free_ports(1)
    scene = make_scene(CRISP_WORKER_PORT=str(port))
    scene.start()
    scene.write(3)
    eventually(lambda: scene.flow.count() > 0)
    scene.flow.request(f"_index_template/crisp-{scene.flow.prefix}", method="DELETE")
    yesterday = time.time() // 86400 * 86400 - 3600
    log = scene.container("yesterday")
    for number in range(500):
        scene.write_line_at(log, yesterday + number * 0.01, f"yesterday {number}")
    scene.wait_for_worker_log("is missing: run `crisp setup`")
    scene.write(3)
    assert "crisp setup" in scene.status(port)["elasticsearch"]["index_problem"]
    scene.flow.set_up()

    scene.assert_exactly_once()
    mappings = scene.flow.request(f"{scene.flow.prefix}-*/_mapping")
    assert len(mappings) == 2
    assert all(entry["mappings"]["_meta"]["owner"] == "crisp" for entry in mappings.values())


def _restart_elasticsearch(scene: Scene, *options: str) -> None:
    scene.stack.elasticsearch.stop()
    scene.stack.start_elasticsearch(*options)
    scene.stack.wait_elasticsearch()


def test_write_thread_pool_is_tiny(scene: Scene) -> None:
    """Many small bulk requests on one thread with a queue of one: status 429 for documents."""
    options = ("node.processors=1", "thread_pool.write.queue_size=1")
    workers = [scene.add_worker(CRISP_BULK_MAX_BYTES="65536", CRISP_BULK_CONCURRENCY="8") for _ in range(2)]
    try:
        _restart_elasticsearch(scene, *options)
        scene.flow.shipper.start()
        scene.write(5, rate=4000)
        for worker in workers:
            worker.start()
        scene.write(8)
        scene.wait_for_worker_log("429")
        scene.assert_exactly_once()
    finally:
        _restart_elasticsearch(scene)
    assert scene.count_dead_letters() == 0


def test_indexing_memory_limit_is_tiny(make_scene: SceneFactory) -> None:
    """Status 429 for every bulk request above Elasticsearch's memory limit for indexing."""
    scene = make_scene()
    try:
        _restart_elasticsearch(scene, "indexing_pressure.memory.limit=256kb")
        scene.flow.shipper.start()
        scene.write(3, rate=3000)
        scene.flow.worker.start()
        scene.write(6)
        scene.wait_for_worker_log("429")
        scene.assert_exactly_once()
    finally:
        _restart_elasticsearch(scene)
    assert scene.count_dead_letters() == 0


def test_bulk_requests_exceed_the_content_limit(scene: Scene) -> None:
    """`http.max_content_length` of 1 MB: status 413 splits bulk requests; a single larger document is dead-lettered.

    A byte of the log can take six bytes in JSON, so the dead letter is larger than any record of the raw topic.
    """
    log = scene.container("huge")
    try:
        _restart_elasticsearch(scene, "http.max_content_length=1mb")
        scene.flow.shipper.start()
        scene.write(4, rate=6000)
        log.write("stdout", bytes(1 + number % 7 for number in range(1_000_000)))
        scene.flow.worker.start()
        scene.write(4)
        scene.assert_exactly_once()
        eventually(lambda: scene.count_dead_letters() == 1)
    finally:
        _restart_elasticsearch(scene)
    (letter,) = scene.flow.values(scene.flow.settings.topic_dead)
    assert len(letter) > 6_000_000
