"""The log writer of the Compose file, as a process."""

import signal
import subprocess
import sys
import time
from pathlib import Path

from pipeline.contract import cri
from pipeline.contract.pod_metadata import CONTAINER_DIRECTORY, POD_DIRECTORY


def test_writer_writes_cri_lines_until_sigterm(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pipeline.demo.writer", "--root", str(tmp_path), "--rate", "400"]
    with subprocess.Popen(command) as child:
        deadline = time.monotonic() + 20
        while not any(path.stat().st_size > 1000 for path in tmp_path.glob("*/*/0.log")):
            assert time.monotonic() < deadline, "nothing was written"
            time.sleep(0.05)
        child.send_signal(signal.SIGTERM)
        assert child.wait(10) == 0

    paths = list(tmp_path.glob("*/*/0.log"))
    assert len(paths) == 4
    for path in paths:
        assert POD_DIRECTORY.fullmatch(path.parent.parent.name)
        assert CONTAINER_DIRECTORY.fullmatch(path.parent.name)
        assert all(cri.parse(line) for line in path.read_bytes().splitlines())
