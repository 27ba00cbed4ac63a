"""A full or read-only disk under the state directory: the shipper runs, restarts, and loses nothing."""

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.operations.setup import topics
from tests.faults.node import Node
from tests.integration.flow import eventually
from tests.support import smalldisk
from tests.support.http import get

pytestmark = pytest.mark.faults


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with smalldisk.mounted(tmp_path / "disk", kib=256) as mount_point:
        yield mount_point


def test_state_disk_is_full_then_read_only(node: Node, disk: Path) -> None:
    flow = node.flow
    flow.configure(CRISP_STATE_DIR=str(disk / "state"))
    asyncio.run(topics.create_topics(flow.settings))
    log = node.container("shop")
    log.write("stdout", b"while the disk has space")
    flow.shipper.start()
    node.assert_complete()
    eventually(lambda: not node.snapshot()["checkpoint_problem"])

    with pytest.raises(OSError, match="No space left"):
        (disk / "filler").write_bytes(bytes(1 << 20))
    log.write("stdout", b"while the disk is full")
    eventually(lambda: "No space left" in node.snapshot()["checkpoint_problem"])
    node.assert_complete()
    flow.shipper.kill()
    log.write("stdout", b"down, on a full disk")
    flow.shipper.start()
    node.assert_complete()
    assert get(node.port, "/livez")[0] == get(node.port, "/readyz")[0] == 200
    flow.shipper.kill()

    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    log.write("stdout", b"down, on a read-only disk")
    flow.shipper.start()
    node.assert_complete()
    log.write("stdout", b"on a read-only disk")
    eventually(lambda: "Read-only" in node.snapshot()["checkpoint_problem"])
    assert float(metric_value(node, "crisp_shipper_checkpoint_failing_seconds")) > 0
    flow.shipper.stop()

    subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    (disk / "filler").unlink()
    flow.shipper.start()
    node.assert_complete()
    eventually(lambda: not node.snapshot()["checkpoint_problem"])
    node.assert_complete()


def metric_value(node: Node, name: str) -> str:
    rows = get(node.port, "/metrics")[1].splitlines()
    return next(row.split()[1] for row in rows if row.startswith(name))
