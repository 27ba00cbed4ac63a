"""A small file system, for tests that fill it or make it read-only."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def mounted(directory: Path, kib: int) -> Iterator[Path]:
    """Mount a file system of that many KiB; skips the test where mounting is not permitted."""
    directory.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", directory], capture_output=True
    ).returncode:
        pytest.skip("mounting file systems is not permitted")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "-l", directory], check=True)
