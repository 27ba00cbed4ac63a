"""Containers whose logs are rotated as by the kubelet; every byte is kept, for comparison with the raw topic."""

import os
import random
import threading
import uuid
from pathlib import Path

from pipeline.contract import record
from pipeline.demo.container_log import PARTIAL_BYTES, ContainerLog

TRACE = (
    b"java.lang.IllegalStateException: order %d is open",
    b"\tat com.example.shop.Order.close(Order.java:%d)",
    b"\tat com.example.shop.Main.run(Main.java:%d)",
    b"Caused by: java.io.IOException: disk %d",
    b"\t... 2 more",
)


class RotatedLog(ContainerLog):
    """A container's log; `closed_files` has the content of every closed file by its identity."""

    def __init__(self, root: Path, name: str, rotate_bytes: int, max_rotated: int) -> None:
        self.closed_files: dict[str, bytes] = {}
        self._reader = -1
        super().__init__(root, "shop", name, str(uuid.uuid4()), "app", rotate_bytes, max_rotated)

    def _open(self) -> None:
        self._save_closed_file()
        super()._open()
        self._reader = os.open(self._live, os.O_RDONLY)

    def _save_closed_file(self) -> None:
        """Keep the content of the closed file, read by descriptor: the file may be renamed."""
        if self._reader < 0:
            return
        with open(self._reader, "rb") as file:
            content = file.read()
        self._reader = -1
        assert not self.closed_files.keys() & self._by_identity(content).keys()
        self.closed_files.update(self._by_identity(content))

    def contents(self) -> dict[str, bytes]:
        """Return the content of every file so far."""
        current = os.pread(self._reader, os.fstat(self._reader).st_size, 0)
        return {**self.closed_files, **self._by_identity(current)}

    def _by_identity(self, content: bytes) -> dict[str, bytes]:
        return {record.identity(self.uid, self.container, 0, content.partition(b"\n")[0]): content} if content else {}

    def close(self) -> None:
        """Close the log: the container has exited."""
        super().close()
        self._save_closed_file()


class Containers:
    """Writes in a thread until `stop`: lines, stack traces, partials of both streams, partials split by a rotation."""

    def __init__(self, root: Path, number: int, rate: int, rotate_bytes: int, max_rotated: int) -> None:
        self._random = random.Random(5)
        self._logs = [RotatedLog(root, f"app-{index}", rotate_bytes, max_rotated) for index in range(number)]
        self._rate = rate
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.lines = 0

    def start(self) -> None:
        """Start to write."""
        self._thread.start()

    def stop(self) -> dict[str, bytes]:
        """Close all containers; return the content of each file."""
        self._stopped.set()
        self._thread.join()
        for log in self._logs:
            log.close()
        return {name: content for log in self._logs for name, content in log.closed_files.items()}

    @property
    def rotations(self) -> int:
        """The number of rotations."""
        return sum(log.rotations for log in self._logs)

    def _run(self) -> None:
        while not self._stopped.wait(0.05):
            for _ in range(self._rate // 20):
                log = self._random.choice(self._logs)
                self.lines += 1
                self._burst(log)
            for log in self._logs:
                log.rotate()

    def _burst(self, log: ContainerLog) -> None:
        drawn, number = self._random.random(), self.lines
        if drawn < 0.02:
            for line in TRACE:
                log.write("stderr", line % number if b"%" in line else line)
        elif drawn < 0.03:
            log.write("stdout", b"%d " % number + b"long " * (PARTIAL_BYTES // 2))
        elif drawn < 0.05:
            log.write_entry("stdout", "P", b"%d begins, " % number)
            log.write_entry("stderr", "P", b"%d in between, " % number)
            log.rotate()
            log.write_entry("stdout", "F", b"and ends")
            log.write_entry("stderr", "F", b"and ends too")
        else:
            log.write(self._random.choice(("stdout", "stderr")), b"%d " % number + b"a plain line " * 14)
