"""`python -m pipeline.demo.writer`: writes the logs of the sample services as a node does, until SIGTERM.

Docker Compose starts it next to the shipper; `crisp demo` does the same within one process.
"""

import argparse
import itertools
import random
import signal
import time
import uuid
from pathlib import Path
from threading import Event

from pipeline.demo.container_log import ContainerLog
from pipeline.demo.sample_services import SERVICES

ROTATE_BYTES = 2 * 1024 * 1024
BATCHES_PER_SECOND = 10


def write(root: Path, rate: float, stopping: Event, random_: random.Random) -> None:
    """Write about `rate` lines per second, one container per service, until `stopping` is set."""
    services = [(_container_log(root, name, random_), make(random_)) for name, make in SERVICES.items()]
    cycle = itertools.cycle(services)
    written, started = 0, time.monotonic()
    while not stopping.wait(1 / BATCHES_PER_SECOND):
        while written < (time.monotonic() - started) * rate:
            log, service = next(cycle)
            stream, burst = next(service)
            for line in burst:
                log.write(stream, line)
            written += len(burst)
            log.rotate()
    for log, _ in services:
        log.close()


def _container_log(root: Path, name: str, random_: random.Random) -> ContainerLog:
    pod = f"{name}-{random_.getrandbits(32):08x}"
    uid = str(uuid.UUID(int=random_.getrandbits(128), version=4))
    return ContainerLog(root, "shop", pod, uid, name, ROTATE_BYTES)


def main() -> None:
    """Write until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(prog="pipeline.demo.writer", description=write.__doc__)
    parser.add_argument(
        "--root", type=Path, default=Path("/var/log/pods"), help="log directory, in the kubelet's layout"
    )
    parser.add_argument("--rate", type=float, default=50, help="lines per second (50)")
    args = parser.parse_args()
    stopping = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    write(args.root, args.rate, stopping, random.Random())


if __name__ == "__main__":
    main()
