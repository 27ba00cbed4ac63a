"""The Java runtime that the servers run on."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from pipeline.errors import StackError

LEAST = 17
_HINT = "install it (Debian: apt install openjdk-17-jdk-headless) or let JAVA_HOME name it"


def home() -> Path:
    """The directory of a Java runtime that is new enough. Raises StackError."""
    named = os.environ.get("JAVA_HOME")
    found = str(Path(named, "bin", "java")) if named else shutil.which("java")
    if found is None or not Path(found).exists():
        raise StackError(f"Java {LEAST} or newer is needed: {_HINT}")
    said = subprocess.run([found, "-version"], capture_output=True, text=True, check=False).stderr
    match = re.search(r'version "(\d+)', said)
    if match is None or int(match[1]) < LEAST:
        raise StackError(f"Java {LEAST} or newer is needed, {found} is {match[1] if match else 'none'}: {_HINT}")
    return Path(found).resolve().parent.parent
