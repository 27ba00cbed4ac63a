"""The demo as a user runs it."""

import json
import os
import signal
import subprocess
import sys
import time


def test_ctrl_c_ends_a_demo_that_follows_and_brings_everything_home() -> None:
    command = [sys.executable, "-m", "pipeline.cli", "demo", "--follow", "--rate", "500", "--json"]
    demo = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, text=True)
    try:
        assert demo.stderr is not None
        for line in demo.stderr:
            if line.startswith("writing"):
                break
        time.sleep(5)
        os.killpg(demo.pid, signal.SIGINT)  # as a terminal does: to the whole group
        printed, _ = demo.communicate(timeout=90)
    finally:
        demo.kill()

    report = json.loads(printed.splitlines()[-1])
    assert demo.returncode == 0
    assert report["written"] > 1000
    assert (report["missing"], report["doubled"]) == (0, 0)
