"""Servers that are killed, frozen, or down at the start; corrupted state files of the shipper."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.worker.process import COMMIT_TIMEOUT_SECONDS, LEAVE_TIMEOUT_SECONDS
from tests.faults.conftest import SceneFactory
from tests.faults.scene import Scene
from tests.integration.flow import eventually

pytestmark = pytest.mark.faults
short = pytest.mark.short


@short
def test_elasticsearch_is_killed_and_restarted(scene: Scene) -> None:
    scene.start()
    scene.write(4)
    scene.stack.elasticsearch.kill()
    scene.write(8)
    scene.stack.start_elasticsearch()
    scene.stack.wait_elasticsearch()
    scene.write(2)

    scene.assert_exactly_once()
    assert scene.flow.worker.poll() is None


@short
def test_kafka_is_killed_and_restarted(scene: Scene) -> None:
    scene.start()
    scene.write(4)
    scene.stack.kafka.kill()
    scene.write(6)
    scene.stack.start_kafka()
    scene.stack.wait_kafka()
    scene.write(2)

    scene.assert_exactly_once()
    assert scene.flow.shipper.poll() is None


def test_elasticsearch_freezes(scene: Scene) -> None:
    scene.start()
    scene.write(4)
    scene.stack.elasticsearch.pause()
    scene.write(15)
    scene.stack.elasticsearch.resume()

    scene.assert_exactly_once()


def test_kafka_freezes_beyond_the_request_timeout(scene: Scene) -> None:
    scene.start()
    scene.write(4)
    scene.stack.kafka.pause()
    scene.write(45, rate=100)
    scene.stack.kafka.resume()

    scene.assert_exactly_once()


def test_kafka_is_down_when_the_shipper_starts(scene: Scene) -> None:
    scene.stack.kafka.kill()
    scene.flow.shipper.start()
    scene.write(5)
    scene.stack.start_kafka()
    scene.stack.wait_kafka()
    scene.flow.worker.start()

    scene.assert_exactly_once()
    assert scene.flow.shipper.poll() is None


def test_shipper_and_worker_are_killed_while_servers_restart(scene: Scene) -> None:
    scene.start()
    for _ in range(2):
        scene.write(3)
        scene.stack.kafka.kill()
        scene.flow.shipper.kill()
        scene.flow.worker.kill()
        scene.stack.elasticsearch.kill()
        scene.stack.start_elasticsearch()
        scene.stack.start_kafka()
        scene.stack.wait_kafka()
        scene.stack.wait_elasticsearch()
        scene.start()

    scene.assert_exactly_once()


@pytest.mark.parametrize("server", ["kafka", "elasticsearch"])
def test_worker_receives_sigterm_while_a_server_is_frozen(make_scene: SceneFactory, server: str) -> None:
    """The worker exits within its grace period and the timeouts after it; the next worker indexes the rest."""
    scene = make_scene(CRISP_WORKER_GRACE_SECONDS="5")
    scene.start()
    scene.write(4)
    eventually(lambda: scene.flow.count() > 0)
    getattr(scene.stack, server).pause()
    try:
        scene.write(4)
        started = time.monotonic()
        scene.flow.worker.stop()
        seconds = time.monotonic() - started
    finally:
        getattr(scene.stack, server).resume()
    scene.flow.worker.start()
    scene.write(2)

    scene.assert_exactly_once()
    scene.row.note = f"exited after {seconds:.1f} s"
    assert seconds < 5 + COMMIT_TIMEOUT_SECONDS + LEAVE_TIMEOUT_SECONDS + 3, scene.log_tails()


def _zero(path: Path) -> None:
    path.write_bytes(b"\0" * path.stat().st_size)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _set_newer_version(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"crisp_checkpoint":1', b'"crisp_checkpoint":2'))


def _reverse(path: Path) -> None:
    path.write_bytes(path.read_bytes()[::-1])


@pytest.mark.parametrize(
    "corrupt",
    [pytest.param(_zero, marks=short), _truncate, _set_newer_version, _reverse, Path.unlink],
    ids=lambda corrupt: corrupt.__name__,
)
def test_checkpoint_is_corrupted_while_the_shipper_is_down(scene: Scene, corrupt: Callable[[Path], object]) -> None:
    scene.start()
    scene.write(4)
    scene.flow.shipper.kill()
    for path in Path(scene.flow.environment["CRISP_STATE_DIR"]).glob("checkpoint*.json"):
        corrupt(path)
    scene.write(1)
    scene.flow.shipper.start()
    scene.write(2)

    scene.assert_exactly_once()
    assert scene.flow.shipper.poll() is None


def test_state_directory_is_not_writable(scene: Scene) -> None:
    state = Path(scene.flow.environment["CRISP_STATE_DIR"])
    scene.start()
    scene.write(3)
    (state / "checkpoint.new").unlink(missing_ok=True)
    (state / "checkpoint.new").mkdir()  # so that even root cannot write the file
    scene.write(4)
    scene.flow.shipper.kill()
    shutil.rmtree(state / "checkpoint.new")
    scene.flow.shipper.start()

    scene.assert_exactly_once()


def test_second_shipper_waits_for_the_first(scene: Scene) -> None:
    scene.start()
    other = type(scene.flow.shipper)("ship", scene.flow.environment, scene.flow.shipper.output.parent)
    other.start()
    try:
        scene.write(3)
        assert "another shipper holds the state directory" in other.output.read_text()
        scene.flow.shipper.kill()
        scene.write(3)
        scene.assert_exactly_once()
    finally:
        other.stop()


def test_topics_are_created_after_the_shipper_starts(make_scene: SceneFactory) -> None:
    scene = make_scene(set_up=False)
    scene.flow.shipper.start()
    scene.write(5)
    scene.flow.set_up()
    scene.flow.worker.start()

    scene.assert_exactly_once()
    assert scene.flow.shipper.poll() is None
