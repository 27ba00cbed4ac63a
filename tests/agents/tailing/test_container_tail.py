"""Tails: when polling of a container can be skipped."""

import os
from pathlib import Path

import pytest

from agents.tailing.container_tail import IDLE_POLL_SECONDS, IDLE_SECONDS, ContainerTail, Limits
from agents.tailing.log_file import LogFile
from pipeline.config.settings import Settings

NOW = 1000.0
LINE = b"2026-11-24T09:42:30.000000000Z stdout F a line\n"


@pytest.fixture
def tail(tmp_path: Path) -> ContainerTail:
    """A container that was just polled, has long been idle, and whose only line was read."""
    path = tmp_path / "0.log"
    path.write_bytes(LINE)
    descriptor = os.open(path, os.O_RDONLY)
    file = LogFile(path, descriptor, os.fstat(descriptor), str(tmp_path))
    file.observe(len(LINE), 0, NOW - 2 * IDLE_SECONDS)
    file.seek(len(LINE))
    tail = ContainerTail(b"key", b"{}", "node", Settings().grouping, Limits(1 << 18, 1 << 20))
    tail.insert(file)
    tail.observe(NOW)
    return tail


def test_idle_container_is_polled_after_a_pause(tail: ContainerTail) -> None:
    assert tail.is_idle(NOW + IDLE_POLL_SECONDS / 2)
    assert not tail.is_idle(NOW + IDLE_POLL_SECONDS * 1.1)


def test_recently_written_container_is_polled(tail: ContainerTail) -> None:
    tail.files[0].observe(len(LINE), 0, NOW - IDLE_SECONDS / 2)
    tail.observe(NOW)
    assert not tail.is_idle(NOW)


def test_container_with_backlog_is_polled(tail: ContainerTail) -> None:
    tail.files[0].observe(len(LINE) + 1, 0, NOW - 2 * IDLE_SECONDS)
    assert not tail.is_idle(NOW)
