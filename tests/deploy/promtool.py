"""Prometheus's promtool, built once from its Go module and cached. `python -m tests.deploy.promtool` builds it."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from pipeline.errors import StackError
from pipeline.local.artifacts import cache_directory

VERSION = "0.316.0"  # of the module; Prometheus 3.16
_PACKAGE = "github.com/prometheus/prometheus/cmd/promtool"


def path() -> Path:
    """Where it is, once it was built."""
    return cache_directory() / f"promtool-{VERSION}" / "promtool"


def build() -> Path:
    """Build it unless it is there. Raises StackError."""
    if path().is_file():
        return path()
    if shutil.which("go") is None:
        raise StackError("Go is needed to build promtool")
    cache_directory().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_directory(), prefix=".promtool-") as temporary:
        made = Path(temporary, "bin")
        environment = {**os.environ, "GOBIN": str(made), "CGO_ENABLED": "0"}
        command = ["nice", "-n", "10", "go", "install", "-trimpath", "-ldflags=-s -w", f"{_PACKAGE}@v{VERSION}"]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if ended.returncode:
            raise StackError(f"promtool cannot be built:\n{ended.stderr[-2000:]}")
        made.rename(path().parent)
    return path()


def tried(directory: Path, *arguments: str) -> tuple[bool, str]:
    """Whether it likes what it read, and what it prints."""
    ended = subprocess.run([str(path()), *arguments], cwd=directory, capture_output=True, text=True, check=False)
    return ended.returncode == 0, ended.stdout + ended.stderr


def run(directory: Path, *arguments: str) -> str:
    """What it prints; fails with that where it does not like what it read."""
    good, said = tried(directory, *arguments)
    assert good, said
    return said


if __name__ == "__main__":
    print(build())
