"""When a container's files need not be looked at."""

import os
from pathlib import Path

import pytest

from agents.tailing.container_tail import QUIET_SECONDS, REST_SECONDS, Limits, Tail
from agents.tailing.log_file import LogFile
from pipeline.config.settings import Settings

NOW = 1000.0
LINE = b"2026-11-24T09:42:30.000000000Z stdout F a line\n"


@pytest.fixture
def tail(tmp_path: Path) -> Tail:
    """A container that was looked at just now and has long been quiet, with all of its one line taken."""
    path = tmp_path / "0.log"
    path.write_bytes(LINE)
    descriptor = os.open(path, os.O_RDONLY)
    file = LogFile(path, descriptor, os.fstat(descriptor), str(tmp_path))
    file.seen = file.position = len(LINE)
    made = Tail(b"key", b"{}", "node", Settings().grouping, Limits(1 << 18, 1 << 20), [file])
    made.quiet, made.looked = 2 * QUIET_SECONDS, NOW
    return made


def test_a_quiet_container_rests_for_a_moment(tail: Tail) -> None:
    assert tail.resting(NOW + REST_SECONDS / 2)
    assert not tail.resting(NOW + REST_SECONDS * 1.1)


def test_one_that_has_written_lately_does_not(tail: Tail) -> None:
    tail.quiet = QUIET_SECONDS / 2
    assert not tail.resting(NOW)


def test_one_with_something_to_send_does_not(tail: Tail) -> None:
    tail.files[0].seen += 1
    assert not tail.resting(NOW)
