"""Ansible and its linter in a virtual environment of their own, made once from their lock and cached."""

import hashlib
import subprocess
import sys
from pathlib import Path

from pipeline.errors import StackError
from pipeline.local.artifacts import cache_directory

LOCK = Path(__file__).parent / "ansible.lock"


def directory() -> Path:
    """Where the environment of this lock is, or will be."""
    return cache_directory() / f"ansible-{hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]}"


def program(name: str) -> Path:
    """A program of it, made first if it is not there. Raises StackError."""
    made = directory() / ".made"
    if not made.exists():
        pip = [str(directory() / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
        for command in (
            [sys.executable, "-m", "venv", "--clear", str(directory())],
            [*pip, "--require-hashes", "-r", str(LOCK)],
        ):
            ended = subprocess.run(command, capture_output=True, text=True, check=False)
            if ended.returncode:
                raise StackError(f"{' '.join(command)}:\n{ended.stderr[-2000:]}")
        made.touch()
    return directory() / "bin" / name


if __name__ == "__main__":
    print(program("ansible-playbook"))
