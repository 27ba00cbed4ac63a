"""A worker that has hung is told by `/livez` or ends itself, and the next one does its work; one that waits is well."""

import signal
import time

import pytest

from pipeline.demo.child_process import ChildProcess
from pipeline.local.process import free_ports
from tests.faults.conftest import SceneFactory
from tests.faults.scene import Scene
from tests.integration.flow import eventually
from tests.integration.test_status import get

pytestmark = pytest.mark.faults

EXITED = "it has ended itself"


def _liveness_problem(scene: Scene, port: int) -> str:
    """What `/livez` says against the worker; empty while it is well."""
    if (code := scene.flow.worker.poll()) is not None:
        return f"{EXITED} with {code}"
    status, words = get(port, "/livez")
    return words if status == 503 else ""


def _set_fault(scene: Scene, fault: str) -> ChildProcess:
    scene.flow.worker.program = ("-m", "tests.faults.harmed", fault)
    return scene.flow.worker


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        pytest.param("_block_loop", "loop has not turned", id="its_loop_is_blocked"),
        pytest.param("_stop_consumer_thread", "thread that speaks to Kafka has ended", id="its_thread_has_ended"),
        pytest.param("_pause_consumer", "no records are let in", id="no_records_are_let_in"),
        pytest.param("_rebalance_indefinitely", "the group is rebalancing", id="it_rebalances_for_ever"),
        pytest.param("_never_ack", "none was taken or settled", id="nothing_is_settled"),
        pytest.param("_cancel_task", f"{EXITED} with 1", id="a_task_is_cancelled_by_nobody"),
        pytest.param("_raise_exception", f"{EXITED} with 1", id="a_bug_of_our_own"),
    ],
)
def test_hung_worker_is_detected(make_scene: SceneFactory, harm: str, words: str) -> None:
    [port] = free_ports(1)
    scene = make_scene(
        CRISP_WORKER_PORT=str(port), CRISP_LAG_POLL_SECONDS="0.5", CRISP_WORKER_MEMORY_BUDGET_BYTES=str(4 * 2**20)
    )
    worker = _set_fault(scene, harm)
    scene.start()
    scene.write(4)
    eventually(lambda: scene.flow.count() > 0)
    assert _liveness_problem(scene, port) == ""
    worker.send_signal(signal.SIGUSR1)
    limit = time.monotonic() + 60
    while not (said := _liveness_problem(scene, port)) and time.monotonic() < limit:
        scene.write(0.5)
    assert words in said, worker.output.read_text()[-2000:]
    worker.kill()  # as the kubelet does
    worker.program = ("-m", "pipeline.cli")
    worker.start()
    scene.write(2)

    scene.assert_exactly_once()
    scene.row.note = said.strip()


@pytest.mark.parametrize("away", ["kafka", "elasticsearch"])
@pytest.mark.parametrize("how", ["pause", "kill"])
def test_worker_waiting_for_a_server_stays_live(make_scene: SceneFactory, away: str, how: str) -> None:
    """Three times as long as a hung worker would be given, and never a word from `/livez`."""
    [port] = free_ports(1)
    scene = make_scene(
        CRISP_WORKER_PORT=str(port),
        CRISP_LAG_POLL_SECONDS="0.5",
        CRISP_WORKER_MEMORY_BUDGET_BYTES=str(4 * 2**20),
        CRISP_ES_TIMEOUT_SECONDS="3",  # as it is judged: quickly
    )
    _set_fault(scene, "_none")
    scene.start()
    scene.write(4)
    eventually(lambda: scene.flow.count() > 0)
    getattr(getattr(scene.stack, away), how)()
    began, said = time.monotonic(), set()
    while time.monotonic() < began + 30:
        scene.write(0.5)
        said.add(_liveness_problem(scene, port))
    if how == "pause":
        getattr(scene.stack, away).resume()
    else:
        getattr(scene.stack, f"start_{away}")()
        getattr(scene.stack, f"wait_{away}")()
    back = time.monotonic()
    while time.monotonic() < back + 10:
        scene.write(0.5)
        said.add(_liveness_problem(scene, port))

    scene.assert_exactly_once()
    assert said == {""}
    assert scene.flow.worker.poll() is None
