"""Held lines of all containers have one limit; beyond it they are read again, and the slices stay the same."""

import os
import time
from pathlib import Path

import pytest

from agents.tailing.container_tail import ContainerTail, Limits
from agents.tailing.held_memory import HeldMemory
from agents.tailing.log_file import LogFile
from pipeline.config.settings import Settings
from pipeline.contract.record import LogSlice

TRACE_LINES = 2000
MIB = 1 << 20


def line(number: int, stream: str, content: str) -> bytes:
    return f"2026-11-24T09:42:30.{number:09d}Z {stream} F {content}\n".encode()


def open_trace(stop: int = TRACE_LINES) -> bytes:
    """A trace that is open on one stream, and complete lines after it on the other."""
    lines = [line(0, "stdout", "Traceback (most recent call last):")]
    lines += [line(number, "stdout", '  File "' + "a" * 400 + '.py", line 1, in f') for number in range(1, stop)]
    return b"".join(lines) + line(stop, "stderr", "complete") + line(stop + 1, "stderr", "INFO complete")


class Log:
    """A log file and its tail."""

    def __init__(self, path: Path, memory: HeldMemory) -> None:
        self.path = path
        path.write_bytes(open_trace())
        descriptor = os.open(path, os.O_RDONLY)
        self.file = LogFile(path, descriptor, os.fstat(descriptor), str(path.parent))
        assert self.file.identify("u-1", path.stem, 0)
        self.tail = ContainerTail(
            path.name.encode(), b"{}", "node", Settings().grouping, Limits(256 << 10, MIB), memory=memory
        )
        self.tail.insert(self.file)
        self.observe()

    def observe(self) -> None:
        self.file.observe(self.path.stat().st_size, time.time_ns(), time.monotonic())

    def read(self) -> list[LogSlice]:
        slices = []
        while (pending := self.tail.next_slice(1)) is not None:
            slices.append(pending.log_slice)
        return slices


def held_bytes(logs: list[Log]) -> int:
    return sum(len(chunk.data) for log in logs for chunk in log.tail._held)


def test_held_lines_of_all_containers_stay_within_the_limit(tmp_path: Path) -> None:
    memory = HeldMemory(3 * MIB)
    logs = [Log(tmp_path / f"{number}.log", memory) for number in range(8)]
    for log in logs:
        log.read()

    assert all(log.tail.holds_lines for log in logs)
    assert 2 * MIB < held_bytes(logs) <= 3 * MIB
    assert held_bytes(logs) == memory.total


@pytest.mark.parametrize("max_bytes", [0, 16 * MIB])
def test_event_that_was_not_kept_is_sent_whole(tmp_path: Path, max_bytes: int) -> None:
    log = Log(tmp_path / "0.log", HeldMemory(max_bytes))
    first = log.read()
    with log.path.open("ab") as live:
        live.write(line(TRACE_LINES + 2, "stdout", "ValueError: x") + line(TRACE_LINES + 3, "stdout", "INFO next"))
    log.observe()
    later = log.read()

    sent = b"".join(log_slice.value for log_slice in first + later)
    assert open_trace()[: open_trace().index(b"Z stderr") - 30] in sent
    assert sorted(sent.splitlines()) == sorted(set(sent.splitlines()))


def test_removed_container_frees_its_share(tmp_path: Path) -> None:
    memory = HeldMemory()
    log = Log(tmp_path / "0.log", memory)
    log.read()
    assert memory.total > 0

    log.tail.abandon(log.file)

    assert memory.total == 0


def test_truncated_file_sends_nothing_of_what_was_held(tmp_path: Path) -> None:
    log = Log(tmp_path / "0.log", HeldMemory(0))
    log.read()
    os.truncate(log.path, 10)

    assert log.read() == []
