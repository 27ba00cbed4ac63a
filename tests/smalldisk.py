"""A small file system of its own, to be filled, or made read-only."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def mounted(directory: Path, kib: int) -> Iterator[Path]:
    """A directory of that many KiB; skips the test where nothing may be mounted."""
    directory.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", directory], capture_output=True
    ).returncode:
        pytest.skip("file systems may not be mounted here")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "-l", directory], check=True)
