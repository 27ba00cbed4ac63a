"""A small Debian with Python as one tar file: the base of every image here, as there is no registry to ask."""

import subprocess
from pathlib import Path

from pipeline.errors import StackError

RELEASE = "bookworm"
PACKAGES = "python3,python3-venv,python3-pip,ca-certificates"
_SOURCES = ("/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list")


def make(path: Path) -> None:
    """Write the file system to a tar file; a minute or two. Raises StackError."""
    sources = next((source for source in _SOURCES if Path(source).exists()), None)
    if sources is None:
        raise StackError(f"no list of Debian's packages: none of {', '.join(_SOURCES)} is there")
    options = ("--mode=root", "--variant=minbase", '--aptopt=Apt::Install-Recommends "false"', "--format=tar")
    command = ["mmdebstrap", *options, f"--include={PACKAGES}", RELEASE, str(path), sources]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise StackError(f"mmdebstrap failed:\n{result.stderr[-2000:]}")
