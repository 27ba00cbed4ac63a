"""A hung worker fails `/livez` or exits, and the next one continues; a worker waiting for a server stays live."""

import signal
import time

import pytest

from pipeline.demo.child_process import ChildProcess
from pipeline.local.process import free_ports
from tests.faults.conftest import SceneFactory
from tests.faults.scene import Scene
from tests.integration.flow import eventually
from tests.support.http import get

pytestmark = pytest.mark.faults

EXITED = "exited"


def _liveness_problem(scene: Scene, port: int) -> str:
    """Return the problem reported by `/livez`, or the exit of the worker; empty while it is live."""
    if (code := scene.flow.worker.poll()) is not None:
        return f"{EXITED} with {code}"
    status, text = get(port, "/livez")
    return text if status == 503 else ""


def _set_fault(scene: Scene, fault: str) -> ChildProcess:
    scene.flow.worker.program = ("-m", "tests.faults.harmed", fault)
    return scene.flow.worker


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        pytest.param("_block_loop", "event loop blocked", id="event_loop_blocked"),
        pytest.param("_stop_consumer_thread", "Kafka client thread has ended", id="kafka_thread_ended"),
        pytest.param("_pause_consumer", "consumer paused", id="consumer_paused"),
        pytest.param("_rebalance_indefinitely", "group rebalancing", id="endless_rebalance"),
        pytest.param("_never_ack", "no record processed", id="records_never_acked"),
        pytest.param("_cancel_task", f"{EXITED} with 1", id="unrequested_cancellation"),
        pytest.param("_raise_exception", f"{EXITED} with 1", id="unexpected_exception"),
    ],
)
def test_hung_worker_is_detected(make_scene: SceneFactory, fault: str, problem: str) -> None:
    [port] = free_ports(1)
    scene = make_scene(
        CRISP_WORKER_PORT=str(port), CRISP_LAG_POLL_SECONDS="0.5", CRISP_WORKER_MEMORY_BUDGET_BYTES=str(4 * 2**20)
    )
    worker = _set_fault(scene, fault)
    scene.start()
    scene.write(4)
    eventually(lambda: scene.flow.count() > 0)
    assert _liveness_problem(scene, port) == ""
    worker.send_signal(signal.SIGUSR1)
    deadline = time.monotonic() + 60
    while not (reported := _liveness_problem(scene, port)) and time.monotonic() < deadline:
        scene.write(0.5)
    assert problem in reported, worker.output.read_text()[-2000:]
    worker.kill()  # as the kubelet does
    worker.program = ("-m", "pipeline.cli")
    worker.start()
    scene.write(2)

    scene.assert_exactly_once()
    scene.row.note = reported.strip()


@pytest.mark.parametrize("server", ["kafka", "elasticsearch"])
@pytest.mark.parametrize("action", ["pause", "kill"])
def test_worker_waiting_for_a_server_stays_live(make_scene: SceneFactory, server: str, action: str) -> None:
    """`/livez` succeeds for three times the liveness limit."""
    [port] = free_ports(1)
    scene = make_scene(
        CRISP_WORKER_PORT=str(port),
        CRISP_LAG_POLL_SECONDS="0.5",
        CRISP_WORKER_MEMORY_BUDGET_BYTES=str(4 * 2**20),
        CRISP_ES_TIMEOUT_SECONDS="3",  # short, as the liveness limits
    )
    _set_fault(scene, "_none")
    scene.start()
    scene.write(4)
    eventually(lambda: scene.flow.count() > 0)
    getattr(getattr(scene.stack, server), action)()
    stopped, reported = time.monotonic(), set()
    while time.monotonic() < stopped + 30:
        scene.write(0.5)
        reported.add(_liveness_problem(scene, port))
    if action == "pause":
        getattr(scene.stack, server).resume()
    else:
        getattr(scene.stack, f"start_{server}")()
        getattr(scene.stack, f"wait_{server}")()
    restored = time.monotonic()
    while time.monotonic() < restored + 10:
        scene.write(0.5)
        reported.add(_liveness_problem(scene, port))

    scene.assert_exactly_once()
    assert reported == {""}
    assert scene.flow.worker.poll() is None
