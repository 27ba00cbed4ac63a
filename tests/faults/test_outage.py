"""A long outage of Elasticsearch: the worker's memory, its own log, and its group membership."""

import os

import pytest

from pipeline.local.process import free_ports, peak_rss_mib
from tests.faults.conftest import SceneFactory
from tests.faults.scene import Scene

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1800)]

WORKER_MIB = 256
LINES_A_MINUTE = 12


def _run_outage(scene: Scene, port: int, seconds: float, rate: int) -> None:
    """Write at this rate while Elasticsearch is down; the worker's memory and log volume are bounded."""
    scene.start()
    scene.write(5)
    pid = scene.flow.worker.pid
    lines_before = scene.flow.worker.output.read_text().count("\n")
    scene.stack.elasticsearch.kill()
    scene.write(seconds, rate=rate)
    status = scene.status(port)
    log_lines = scene.flow.worker.output.read_text().count("\n") - lines_before
    mib = peak_rss_mib(pid)
    scene.stack.start_elasticsearch()
    scene.stack.wait_elasticsearch()
    scene.row.note = f"worker at most {mib:.0f} MiB during the outage, {log_lines} lines of its own log"

    assert len(status["partitions"]) == 3
    assert status["elasticsearch"]["failing_since"] is not None
    scene.assert_exactly_once(600)
    assert scene.flow.worker.poll() is None
    assert max(mib, peak_rss_mib(pid)) < WORKER_MIB
    assert log_lines <= 10 + LINES_A_MINUTE * seconds / 60


def test_elasticsearch_is_down_for_two_minutes(make_scene: SceneFactory) -> None:
    [port] = free_ports(1)
    _run_outage(make_scene(CRISP_WORKER_PORT=str(port)), port, 120, 500)


def test_elasticsearch_is_down_for_ten_minutes_under_full_load(make_scene: SceneFactory) -> None:
    [port] = free_ports(1)
    seconds = float(os.environ.get("OUTAGE_SECONDS", "600"))
    _run_outage(make_scene(CRISP_WORKER_PORT=str(port)), port, seconds, 1500)
