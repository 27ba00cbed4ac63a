"""Commands on a pseudo-terminal of a given width."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence

_CONTROL_SEQUENCE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
_ERASED = re.compile(r"^.*(\n(\r|\x1b\[\?25h)*\x1b\[1A)?\x1b\[2K", re.MULTILINE)  # also by going back up to the line
_OVERWRITTEN = re.compile(r"^.*\r(?!$)", re.MULTILINE)


def run(command: Sequence[str], environment: Mapping[str, str], columns: int, seconds: float) -> tuple[int, str]:
    """Run a command on a terminal; return its exit code and its text, without control sequences.

    Fails the test if it does not exit within `seconds`.
    """
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    size = {"COLUMNS", "LINES", "NO_COLOR"}
    inherited = {name: value for name, value in environment.items() if name not in size}
    child = subprocess.Popen(
        command, env={**inherited, "TERM": "xterm-256color"}, stdin=terminal, stdout=terminal, stderr=terminal
    )
    os.close(terminal)
    try:
        text = _read(controller, child, time.monotonic() + seconds)
        return child.wait(10), text
    finally:
        child.kill()
        os.close(controller)


def _read(controller: int, child: subprocess.Popen[bytes], limit: float) -> str:
    written = bytearray()
    while True:
        assert time.monotonic() < limit, f"not ended in time: {child.args!r}\n{written.decode(errors='replace')}"
        if not select.select([controller], [], [], 0.2)[0]:
            continue
        try:
            data = os.read(controller, 65536)
        except OSError:  # EIO: the terminal has no other end any more
            data = b""
        if not data:
            break
        written += data
    shown = _ERASED.sub("", written.decode().replace("\r\n", "\n"))  # a line of progress that was erased
    return _OVERWRITTEN.sub("", _CONTROL_SEQUENCE.sub("", shown))
