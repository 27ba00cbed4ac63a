"""Places that take no documents: Elasticsearch says no, and none of it is the documents' fault."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from pipeline.local.process import free_ports
from tests.faults.conftest import Maker
from tests.faults.scene import Scene
from tests.integration.flow import eventually

pytestmark = pytest.mark.faults
short = pytest.mark.short

FAILING = "Elasticsearch does not take documents"


def _put(scene: Scene, path: str, body: dict[str, Any]) -> None:
    scene.flow.ask(path, body, "PUT")


def _setting(scene: Scene, name: str, value: Any) -> None:
    _put(scene, f"{scene.index()}/_settings", {name: value})


def _cluster(scene: Scene, **values: Any) -> None:
    _put(scene, "_cluster/settings", {"persistent": values})


def _close(scene: Scene) -> None:
    scene.flow.ask(f"{scene.index()}/_close", method="POST")


def _open(scene: Scene) -> None:
    scene.flow.ask(f"{scene.index()}/_open?wait_for_active_shards=1", method="POST")


BROKEN = [
    pytest.param(
        lambda scene: _setting(scene, "index.blocks.write", value=True),
        lambda scene: _setting(scene, "index.blocks.write", value=False),
        id="write_block",
        marks=short,
    ),
    pytest.param(
        lambda scene: _setting(scene, "index.blocks.read_only_allow_delete", value=True),
        lambda scene: _setting(scene, "index.blocks.read_only_allow_delete", None),
        id="read_only_allow_delete",
    ),
    pytest.param(_close, _open, id="closed_index"),
    pytest.param(
        lambda scene: _setting(scene, "index.default_pipeline", "nowhere"),
        lambda scene: _setting(scene, "index.default_pipeline", None),
        id="missing_pipeline",
    ),
]


@pytest.mark.parametrize(("harm", "mend"), BROKEN)
def test_the_index_of_the_day_breaks(
    scene: Scene, harm: Callable[[Scene], object], mend: Callable[[Scene], object]
) -> None:
    scene.start()
    scene.write(4)
    eventually(lambda: scene.flow.count() > 0)
    harm(scene)
    scene.write(8)
    scene.worker_says(FAILING)
    mend(scene)
    scene.write(2)

    scene.assert_all_found()
    assert scene.dead() == 0
    assert scene.flow.worker.ended() is None


def test_flood_stage_by_watermark(scene: Scene) -> None:
    mark = "cluster.routing.allocation.disk."
    names = [f"{mark}watermark.{name}" for name in ("low", "high", "flood_stage")]
    scene.start()
    scene.write(3)
    try:
        _cluster(
            scene,
            **{f"{mark}threshold_enabled": True, "cluster.info.update.interval": "10s"},
            **dict.fromkeys(names, "0.01%"),
        )
        limit = time.monotonic() + 90
        while FAILING not in scene.flow.worker.output.read_text() and time.monotonic() < limit:
            scene.write(1, rate=100)
        scene.worker_says("flood", seconds=5)
    finally:
        _cluster(scene, **{f"{mark}threshold_enabled": None}, **dict.fromkeys(names))
    scene.write(2)

    scene.assert_all_found()
    assert scene.dead() == 0


def test_no_shard_is_left_for_the_index_of_the_day(scene: Scene) -> None:
    used = scene.flow.ask("_cluster/health")["active_shards"]
    _cluster(scene, **{"cluster.max_shards_per_node": max(1, used)})
    try:
        scene.start()
        scene.write(6)
        scene.worker_says(FAILING)
    finally:
        _cluster(scene, **{"cluster.max_shards_per_node": None})

    scene.assert_all_found()
    assert scene.dead() == 0


def test_the_name_of_the_day_is_an_alias_without_a_write_index(scene: Scene) -> None:
    day = scene.index()
    for part in ("a", "b"):
        _put(scene, f"{day}-{part}", {"aliases": {day: {}}})
    scene.start()
    scene.write(6)
    scene.worker_says(FAILING)
    actions = [{"add": {"index": f"{day}-b", "alias": day, "is_write_index": True}}]
    scene.flow.ask("_aliases", {"actions": actions})

    scene.assert_all_found()
    assert scene.dead() == 0


def test_the_template_is_missing_on_a_new_day(make_scene: Maker) -> None:
    """Lines of a day that has no index yet wait for the template; nothing is written into an index made without it."""
    [port] = free_ports(1)
    scene = make_scene(CRISP_WORKER_PORT=str(port))
    scene.start()
    scene.write(3)
    eventually(lambda: scene.flow.count() > 0)
    scene.flow.ask(f"_index_template/crisp-{scene.flow.prefix}", method="DELETE")
    yesterday = time.time() // 86400 * 86400 - 3600
    log = scene.container("yesterday")
    for number in range(500):
        scene.put_at(log, yesterday + number * 0.01, f"yesterday {number}")
    scene.worker_says("is not there: run `crisp setup`")
    scene.write(3)
    assert "crisp setup" in scene.status(port)["elasticsearch"]["trouble"]
    scene.flow.set_up()

    scene.assert_all_found()
    mappings = scene.flow.ask(f"{scene.flow.prefix}-*/_mapping")
    assert len(mappings) == 2
    assert all(entry["mappings"]["_meta"]["owner"] == "crisp" for entry in mappings.values())


def _restarted(scene: Scene, *options: str) -> None:
    scene.stack.elasticsearch.stop()
    scene.stack.start_elasticsearch(*options)
    scene.stack.wait_elasticsearch()


def test_a_tiny_thread_pool(scene: Scene) -> None:
    """Many small bulks at one thread with a queue of one: 429 for documents."""
    options = ("node.processors=1", "thread_pool.write.queue_size=1")
    workers = [scene.another_worker(CRISP_BULK_MAX_BYTES="65536", CRISP_BULK_CONCURRENCY="8") for _ in range(2)]
    try:
        _restarted(scene, *options)
        scene.flow.shipper.start()
        scene.write(5, rate=4000)
        for worker in workers:
            worker.start()
        scene.write(8)
        scene.worker_says("429")
        scene.assert_all_found()
    finally:
        _restarted(scene)
    assert scene.dead() == 0


def test_a_tiny_limit_of_memory_for_indexing(make_scene: Maker) -> None:
    """429 for every whole bulk that is larger than Elasticsearch's memory for indexing allows."""
    scene = make_scene()
    try:
        _restarted(scene, "indexing_pressure.memory.limit=256kb")
        scene.flow.shipper.start()
        scene.write(3, rate=3000)
        scene.flow.worker.start()
        scene.write(6)
        scene.worker_says("429")
        scene.assert_all_found()
    finally:
        _restarted(scene)
    assert scene.dead() == 0


def test_bulks_are_larger_than_the_server_takes(scene: Scene) -> None:
    """`http.max_content_length` of 1 MB: 413, and the bulk goes in halves; what is larger alone is a dead letter.

    A byte of the log can take six in JSON, so the letter is larger than any record of the raw topic.
    """
    log = scene.container("huge")
    try:
        _restarted(scene, "http.max_content_length=1mb")
        scene.flow.shipper.start()
        scene.write(4, rate=6000)
        log.write("stdout", bytes(1 + number % 7 for number in range(1_000_000)))
        scene.flow.worker.start()
        scene.write(4)
        scene.assert_all_found()
        eventually(lambda: scene.dead() == 1)
    finally:
        _restarted(scene)
    (letter,) = scene.flow.values(scene.flow.settings.topic_dead)
    assert len(letter) > 6_000_000
