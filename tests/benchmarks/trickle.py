"""What a shipper costs that has little to do: 110 containers, idle and at a line a second each.

`python -m tests.benchmarks.trickle`; prints one JSON object: share of a core, in percent, and peak memory.
"""

import argparse
import asyncio
import json
import tempfile
import time
from pathlib import Path

from pipeline import setup
from pipeline.demo.part import Part
from pipeline.local.stack import running
from pipeline.message import apptime
from pipeline.settings import load

CONTAINERS = 110
WARM_SECONDS = 5.0


def main() -> None:
    """Measure idle first, then the trickle."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="crisp-bench-") as temporary, running() as stack:
        files = _files(Path(temporary, "pods"))
        environment = {
            **stack.environment,
            "CRISP_LOGS_DIR": str(Path(temporary, "pods")),
            "CRISP_STATE_DIR": str(Path(temporary, "state")),
            "CRISP_NODE_NAME": "node-1",
        }
        asyncio.run(setup.topics(load(environment)))
        shipper = Part("ship", environment, Path(temporary))
        shipper.start()
        time.sleep(WARM_SECONDS)
        idle = _share(shipper, args.seconds, [])
        busy = _share(shipper, args.seconds, files)
        shipper.stop()
    print(
        json.dumps(
            {"containers": CONTAINERS, "idle_percent": idle, "trickle_percent": busy, "rss_mib": shipper.rss_mib}
        )
    )


def _files(root: Path) -> list[Path]:
    found = []
    for number in range(CONTAINERS):
        directory = root / f"shop_app-{number}_{number:08d}-1111-2222-3333-444444444444" / "app"
        directory.mkdir(parents=True)
        found.append(directory / "0.log")
        _write(found[-1])
    return found


def _write(path: Path) -> None:
    with path.open("a") as file:
        file.write(f"{apptime.text(time.time_ns())} stdout F {'a line of a quiet service ' * 6}\n")


def _share(shipper: Part, seconds: float, files: list[Path]) -> float:
    """Percent of a core that the shipper takes while every file gets a line a second."""
    shipper.measure()
    before, started = shipper.cpu_seconds, time.monotonic()
    while (now := time.monotonic()) < started + seconds:
        for path in files:
            _write(path)
        time.sleep(max(0.0, 1 - (time.monotonic() - now)))
    shipper.measure()
    return round(100 * (shipper.cpu_seconds - before) / (time.monotonic() - started), 2)


if __name__ == "__main__":
    main()
