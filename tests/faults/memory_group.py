"""A control group that limits the memory of processes as a container's limit does: version 1 or 2. Needs root."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOTS = (Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup"))
_LIMITS = ("memory.limit_in_bytes", "memory.max")
_PEAKS = ("memory.max_usage_in_bytes", "memory.peak")
_EVENTS = ("memory.oom_control", "memory.events")
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class MemoryGroup:
    """A control group; without a `path` this machine does not allow any, and nothing is limited."""

    path: Path | None
    limit_mib: int

    @property
    def prefix(self) -> tuple[str, ...]:
        """The command that runs another command in the group."""
        return ("sh", "-c", f'echo $$ > {self.path}/cgroup.procs && exec "$@"', "sh") if self.path else ()

    def peak_mib(self) -> float:
        """The peak of the group's memory, page cache included; it reaches the limit where many files are read."""
        return self._read(_PEAKS) / MIB

    def kills(self) -> int:
        """How often the kernel killed a process because of the limit."""
        return self._read(_EVENTS, "oom_kill ")

    def _read(self, names: tuple[str, ...], key: str = "") -> int:
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                lines = (self.path / name).read_text().splitlines() if self.path else []
                return next((int(line.removeprefix(key)) for line in lines if line.startswith(key)), 0)
        return 0


def _create(name: str, limit_mib: int) -> Path | None:
    for root in ROOTS:
        path = root / f"crisp-{name}-{os.getpid()}"
        for limit in _LIMITS:
            with contextlib.suppress(OSError):
                path.mkdir(exist_ok=True)
                (path / limit).write_text(str(limit_mib * MIB))
                return path
            with contextlib.suppress(OSError):
                path.rmdir()
    return None


@contextlib.contextmanager
def memory_group(name: str, limit_mib: int) -> Iterator[MemoryGroup]:
    """A group with a limit; its processes must have ended at the end."""
    group = MemoryGroup(_create(name, limit_mib), limit_mib)
    try:
        yield group
    finally:
        if group.path is not None:
            group.path.rmdir()
