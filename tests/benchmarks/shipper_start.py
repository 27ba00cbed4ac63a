"""How long a shipper needs from its start until it holds the first log open: what is deleted before that is lost.

`python -m tests.benchmarks.shipper_start`: medians of several starts, wall clock and CPU, of Python alone too.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUNS, LOGS = 9, 110
_UID = "11111111-2222-3333-4444-{:012d}"


def main() -> None:
    """Print the medians."""
    with tempfile.TemporaryDirectory(prefix="crisp-start-") as temporary:
        top = Path(temporary)
        paths = [_write_log(top / "pods", number) for number in range(LOGS)]
        python = statistics.median(_run_python() for _ in range(RUNS))
        seconds = statistics.median(_seconds_to_open(top, paths[-1]) for _ in range(RUNS))
    print(
        f"Python alone {python * 1000:.0f} ms; crisp ship until the last of {LOGS} logs is open {seconds * 1000:.0f} ms"
    )


def _write_log(pods: Path, number: int) -> Path:
    path = pods / f"shop_pay-{number:03d}_{_UID.format(number)}" / "app" / "0.log"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"2026-12-01T00:00:00.000000001Z stdout F x\n")
    return path


def _run_python() -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", ""], check=True)
    return time.perf_counter() - started


def _seconds_to_open(top: Path, path: Path) -> float:
    environment = {
        **os.environ,
        "CRISP_LOGS_DIR": str(top / "pods"),
        "CRISP_STATE_DIR": str(top / "state"),
        "CRISP_KUBERNETES": "off",
        "CRISP_KAFKA_BROKERS": "127.0.0.1:1",
        "CRISP_SHIP_PORT": "0",
    }
    command = [sys.executable, "-m", "pipeline.cli.main", "ship"]
    started = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not _holds(process.pid, str(path)):
            time.sleep(0.001)
        return time.perf_counter() - started
    finally:
        process.kill()
        process.wait()


def _holds(pid: int, path: str) -> bool:
    directory = f"/proc/{pid}/fd"
    for name in os.listdir(directory):
        try:
            if os.readlink(f"{directory}/{name}") == path:
                return True
        except FileNotFoundError:
            continue
    return False


if __name__ == "__main__":
    main()
