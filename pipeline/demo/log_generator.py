"""The containers of the demo: generated services, and the output of the local servers. For the demo and for tests."""

import contextlib
import random
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path

import orjson

from pipeline.demo.container_log import ContainerLog
from pipeline.demo.ledger import Ledger
from pipeline.demo.sample_services import SERVICES, Burst

ROTATE_BYTES = 2 * 1024 * 1024
PODS_PER_SERVICE = 2
WATCH_INTERVAL = 25
CHAOS_WATCH_INTERVAL = 5  # a kill counts only while a watched line is in flight: watch more lines


class LogGenerator:
    """Writes lines of all containers in turn. `watched_traces` holds trace ids of lines whose latency is measured."""

    def __init__(self, root: Path, ledger: Ledger, seed: int, watch_interval: int = WATCH_INTERVAL) -> None:
        self._watch_interval = watch_interval
        random_ = random.Random(seed)
        self._root = root
        self._ledger = ledger
        self._services: list[tuple[ContainerLog, Iterator[Burst]]] = [
            (self._container("shop", name, random_), service(random.Random(random_.random())))
            for name, service in SERVICES.items()
            for _ in range(PODS_PER_SERVICE)
        ]
        self._followed: list[_FollowedOutput] = []
        self._random = random_
        self._turn = 0
        self._rotations = 0
        self.watched_traces: list[str] = []

    def _container(self, namespace: str, name: str, random_: random.Random) -> ContainerLog:
        pod = f"{name}-{random_.getrandbits(32):08x}"
        uid = str(uuid.UUID(int=random_.getrandbits(128), version=4))
        return ContainerLog(self._root, namespace, pod, uid, name, ROTATE_BYTES)

    def replace_pods(self) -> list[ContainerLog]:
        """Replace all pods, as a rollout does; return the logs of the old ones."""
        replaced = self.logs()
        self._rotations = self.rotations()
        self._services = [
            (self._container("shop", log.container, self._random), service) for log, service in self._services
        ]
        for followed in self._followed:
            followed.log = self._container("infra", followed.log.container, self._random)
        for log in replaced:
            log.close()
        return replaced

    def follow_output(self, name: str, output: Path) -> None:
        """Copy the output of a server to the log of a container with that name."""
        self._followed.append(_FollowedOutput(output, self._container("infra", name, self._random)))

    def write(self, lines: int) -> None:
        """Write about this many lines of the generated services, one burst of each in turn."""
        until = self._ledger.lines + lines
        while self._ledger.lines < until:
            log, service = self._services[self._turn % len(self._services)]
            self._turn += 1
            stream, burst = next(service)
            for line in burst:
                self._write_line(log, stream, line)
            if self._turn % self._watch_interval == 0 and burst[0].startswith(b"{"):
                self.watched_traces.append(orjson.loads(burst[0])["trace.id"])

    def copy_output(self) -> None:
        """Copy the new output of the servers; rotate the files that are due."""
        for followed in self._followed:
            for line in followed.lines():
                self._write_line(followed.log, "stdout", line)
        for log in self.logs():
            log.rotate()

    def _write_line(self, log: ContainerLog, stream: str, line: bytes) -> None:
        self._ledger.record(log.uid, line)
        log.write(stream, line)

    def logs(self) -> list[ContainerLog]:
        """Return the logs of all containers."""
        return [log for log, _ in self._services] + [followed.log for followed in self._followed]

    def rotations(self) -> int:
        """Return the number of rotations."""
        return self._rotations + sum(log.rotations for log in self.logs())

    def close(self) -> None:
        """Close all logs."""
        for log in self.logs():
            log.close()
        for followed in self._followed:
            followed.close()


class _FollowedOutput:
    """The output file of a server, and the container log for its lines."""

    def __init__(self, output: Path, log: ContainerLog) -> None:
        self.log = log
        self._file = output.open("rb")
        self._incomplete_line = b""

    def lines(self) -> list[bytes]:
        """Return the complete lines printed since the last call."""
        *lines, self._incomplete_line = (self._incomplete_line + self._file.read()).split(b"\n")
        return lines

    def close(self) -> None:
        """Close the output file."""
        self._file.close()


def provoke_stack_trace(port: int) -> None:
    """Make Kafka log a Java stack trace: it reads an HTTP request as the size of a message above a gigabyte.

    Does nothing if Kafka is stopped.
    """
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        connection.recv(64)
