"""An I/O error of one file stops the log of its container only, is reported, and ends when the file can be read."""

import errno
import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

import pytest

from agents.status import backlogs
from tests.agents.state.test_losses import UID, Node

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class BrokenDisk:
    """Makes system calls on open files fail with an errno, by inode: `break_file`, `mend`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, calls: tuple[str, ...], number: int) -> None:
        self._inodes: set[int] = set()
        self._number = number
        self._fstat = os.fstat
        for name in calls:
            monkeypatch.setattr(os, name, self._failing(getattr(os, name)))

    def _failing(self, call: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
        def checked(*arguments: Arguments.args, **options: Arguments.kwargs) -> Result:
            descriptor = arguments[0]
            assert isinstance(descriptor, int)
            if self._inodes and self._fstat(descriptor).st_ino in self._inodes:
                raise OSError(self._number, os.strerror(self._number))
            return call(*arguments, **options)

        return checked

    def break_file(self, path: Path) -> None:
        self._inodes.add(path.stat().st_ino)

    def mend(self) -> None:
        self._inodes.clear()


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


@pytest.mark.parametrize(
    ("number", "calls"),
    [(errno.EIO, ("pread",)), (errno.EACCES, ("pread",)), (errno.ESTALE, ("pread", "fstat"))],
)
@pytest.mark.parametrize("opened", [False, True])
@pytest.mark.parametrize("name", ["0.log", "0.log.20260101-000000", "0.log.20260101-000000.gz"])
def test_unreadable_file_stops_only_its_container_until_it_can_be_read(
    node: Node,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    calls: tuple[str, ...],
    opened: bool,  # noqa: FBT001 - a parameter of the test
    name: str,
) -> None:
    disk = BrokenDisk(monkeypatch, calls, number)
    size = write(node, name)
    if opened:
        node.scan(1)
    disk.break_file(node.path(name=name))
    healthy = node.write("other", lines=5)
    node.drain()

    assert node.read == {f"{UID}/app/0": healthy}, "the containers have one uid in this test"
    assert {path: why for path, (_, why) in node.logs.unreadable.entries.items()} == {
        node.path(name=name): os.strerror(number)
    }
    backlogs(node.logs.tails)
    disk.mend()
    node.drain()

    assert node.logs.unreadable.entries == {}
    assert node.read[f"{UID}/app/0"] == size + healthy
    assert node.gaps() == []


def write(node: Node, name: str) -> int:
    """Write a log of the name; return the bytes of its lines."""
    size = node.write(lines=5)
    live = node.path()
    if name.endswith(".gz"):
        node.path(name=name).write_bytes(gzip.compress(live.read_bytes()))
        live.unlink()
    elif name != live.name:
        live.rename(node.path(name=name))
    return size
