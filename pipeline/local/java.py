"""The Java runtime that the servers run on."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from pipeline.errors import StackError

MIN_VERSION = 17
_HINT = "install it (Debian: apt install openjdk-17-jdk-headless) or set JAVA_HOME"


def home() -> Path:
    """The directory of a Java runtime of version `MIN_VERSION` or newer. Raises StackError."""
    java_home = os.environ.get("JAVA_HOME")
    executable = str(Path(java_home, "bin", "java")) if java_home else shutil.which("java")
    if executable is None or not Path(executable).exists():
        raise StackError(f"Java {MIN_VERSION} or newer is needed: {_HINT}")
    output = subprocess.run([executable, "-version"], capture_output=True, text=True, check=False).stderr
    match = re.search(r'version "(\d+)', output)
    if match is None or int(match[1]) < MIN_VERSION:
        raise StackError(
            f"Java {MIN_VERSION} or newer is needed, {executable} is {match[1] if match else 'none'}: {_HINT}"
        )
    return Path(executable).resolve().parent.parent
