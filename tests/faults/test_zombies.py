"""A worker that has hung is told by `/livez` or ends itself, and the next one does its work; one that waits is well."""

import signal
import time

import pytest

from pipeline.demo.child_process import Part
from pipeline.local.process import free_ports
from tests.faults.conftest import Maker
from tests.faults.scene import Scene
from tests.integration.flow import eventually
from tests.integration.test_status import get

pytestmark = pytest.mark.faults

ENDED = "it has ended itself"


def _judged(scene: Scene, port: int) -> str:
    """What `/livez` says against the worker; empty while it is well."""
    if (code := scene.flow.worker.ended()) is not None:
        return f"{ENDED} with {code}"
    status, words = get(port, "/livez")
    return words if status == 503 else ""


def _harmed(scene: Scene, harm: str) -> Part:
    scene.flow.worker.program = ("-m", "tests.faults.harmed", harm)
    return scene.flow.worker


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        pytest.param("_blocks", "loop has not turned", id="its_loop_is_blocked"),
        pytest.param("_loses_its_thread", "thread that speaks to Kafka has ended", id="its_thread_has_ended"),
        pytest.param("_lets_nothing_in", "no records are let in", id="no_records_are_let_in"),
        pytest.param("_rebalances_for_ever", "the group is rebalancing", id="it_rebalances_for_ever"),
        pytest.param("_forgets", "none was taken or settled", id="nothing_is_settled"),
        pytest.param("_is_cancelled", f"{ENDED} with 1", id="a_task_is_cancelled_by_nobody"),
        pytest.param("_fails", f"{ENDED} with 1", id="a_bug_of_our_own"),
    ],
)
def test_a_worker_hangs(make_scene: Maker, harm: str, words: str) -> None:
    [port] = free_ports(1)
    scene = make_scene(
        CRISP_WORKER_PORT=str(port), CRISP_LAG_POLL_SECONDS="0.5", CRISP_WORKER_MEMORY_BUDGET_BYTES=str(4 * 2**20)
    )
    worker = _harmed(scene, harm)
    scene.start()
    scene.write(4)
    eventually(lambda: scene.flow.count() > 0)
    assert _judged(scene, port) == ""
    worker.send(signal.SIGUSR1)
    limit = time.monotonic() + 60
    while not (said := _judged(scene, port)) and time.monotonic() < limit:
        scene.write(0.5)
    assert words in said, worker.output.read_text()[-2000:]
    worker.kill()  # as the kubelet does
    worker.program = ("-m", "pipeline.cli")
    worker.start()
    scene.write(2)

    scene.assert_all_found()
    scene.row.note = said.strip()


@pytest.mark.parametrize("away", ["kafka", "elasticsearch"])
@pytest.mark.parametrize("how", ["pause", "kill"])
def test_a_worker_that_waits_for_a_server_is_well(make_scene: Maker, away: str, how: str) -> None:
    """Three times as long as a hung worker would be given, and never a word from `/livez`."""
    [port] = free_ports(1)
    scene = make_scene(
        CRISP_WORKER_PORT=str(port),
        CRISP_LAG_POLL_SECONDS="0.5",
        CRISP_WORKER_MEMORY_BUDGET_BYTES=str(4 * 2**20),
        CRISP_ES_TIMEOUT_SECONDS="3",  # as it is judged: quickly
    )
    _harmed(scene, "_nothing")
    scene.start()
    scene.write(4)
    eventually(lambda: scene.flow.count() > 0)
    getattr(getattr(scene.stack, away), how)()
    began, said = time.monotonic(), set()
    while time.monotonic() < began + 30:
        scene.write(0.5)
        said.add(_judged(scene, port))
    if how == "pause":
        getattr(scene.stack, away).resume()
    else:
        getattr(scene.stack, f"start_{away}")()
        getattr(scene.stack, f"wait_{away}")()
    back = time.monotonic()
    while time.monotonic() < back + 10:
        scene.write(0.5)
        said.add(_judged(scene, port))

    scene.assert_all_found()
    assert said == {""}
    assert scene.flow.worker.ended() is None
