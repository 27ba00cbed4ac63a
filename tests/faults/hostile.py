"""Pods that attack the pipeline by what a tenant can write: lines, files, labels. For the soak suite."""

import gzip
import os
import random
import time
from collections.abc import Callable
from pathlib import Path

from pipeline.parsing import timestamp

MAX_FILE_BYTES = 8 * 1024 * 1024
MAX_ROTATED_FILES = 2
HUGE_LABELS = {f"label-{number:03d}.example.com/name": "x" * 50 for number in range(300)}
"""24 KB."""


class HostilePod:
    """The log of one container; `attack` writes some more of its kind."""

    def __init__(self, directory: Path, kind: str, seed: int) -> None:
        self.directory, self.kind = directory, kind
        self._random = random.Random(seed)
        self._live = directory / "0.log"
        self._number = 0
        self._open()

    def _open(self) -> None:
        self._file = os.open(self._live, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)

    def attack(self) -> None:
        """Write some kilobytes, and rotate as the kubelet does."""
        self._number += 1
        KINDS[self.kind](self)
        if os.fstat(self._file).st_size > MAX_FILE_BYTES:
            self.rotate()

    def line(self, content: bytes, tag: str = "F", offset_seconds: float = 0.0) -> None:
        """Write a CRI line."""
        moment = timestamp.format_utc(time.time_ns() + round(offset_seconds * 1e9))
        self.write(f"{moment} stdout {tag} ".encode() + content + b"\n")

    def write(self, data: bytes) -> None:
        """Write bytes."""
        os.write(self._file, data)

    def rotate(self) -> None:
        """Rename the file, reopen it, delete the oldest."""
        self._live.rename(self.directory / f"0.log.{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{self._number}")
        os.close(self._file)
        self._open()
        rotated = sorted(self.directory.glob("0.log.*"), key=lambda path: path.stat().st_mtime)
        for path in rotated[:-MAX_ROTATED_FILES]:
            path.unlink()

    # --- the kinds

    def endless_line(self) -> None:
        """No newline for 64 tries."""
        self.write(b"x" * 65536 if self._number % 64 else b"\n")

    def nul_bytes(self) -> None:
        """Runs of NUL bytes, and holes of a sparse file."""
        self.line(b"before")
        self.write(bytes(self._random.choice((1, 511, 70_000))))
        self.line(b"behind")
        if self._number % 20 == 0:
            os.truncate(self._live, os.stat(self._live).st_size + 4 * 1024 * 1024)

    def deep_json(self) -> None:
        """Objects and lists 5,000 deep."""
        opening = self._random.choice((b'{"a":', b"["))
        self.line(opening * 5000 + b"1")
        self.line(b'{"a":' * 3000 + b"1" + b"}" * 3000)

    def many_keys(self) -> None:
        """New keys in each line, long ones, and values of changing types."""
        start = self._number * 400
        pairs = (b'"key_%d_%s":%d' % (start + number, b"k" * (number % 200), number) for number in range(400))
        self.line(b"{" + b",".join(pairs) + b"}")
        self.line(b'{"value":%b,"status":{"a":1}}' % self._random.choice((b"1", b'"x"', b"[]", b"{}", b"null")))

    def huge_labels(self) -> None:
        """Short lines; the pod has huge labels."""
        for number in range(50):
            self.line(b"%d" % number)

    def open_partial(self) -> None:
        """A partial line that never ends."""
        self.line(b"p" * 16384, "P")

    def open_trace(self) -> None:
        """A stack trace that never ends."""
        if self._number == 1:
            self.line(b"java.lang.IllegalStateException: open")
        for number in range(100):
            self.line(b"\tat com.example.shop.Order.close%d(Order.java:%d)" % (self._number, number))

    def repeated_digits(self) -> None:
        """What takes a pattern of card numbers long."""
        self.line(b"1 " * 8000)
        self.line(b'word "' + b"a=\\" * 8000)

    def bad_utf8(self) -> None:
        """Random bytes."""
        self.line(self._random.randbytes(4000).replace(b"\n", b" "))
        self.line(b'{"message":"\xff\xfe\xed\xa0\x80"}')
        self.write(self._random.randbytes(300))

    def rotation_storm(self) -> None:
        """Many rotations a second."""
        for number in range(5):
            self.line(b"storm %d %d" % (self._number, number))
            self.rotate()

    def damaged_archive(self) -> None:
        """Rotated archives, some of them damaged."""
        self.line(b"live %d" % self._number)
        if self._number % 10 == 0:
            lines = b"".join(
                b"%b stdout F archived %d\n" % (timestamp.format_utc(time.time_ns()).encode(), number)
                for number in range(2000)
            )
            data = bytearray(gzip.compress(lines))
            data[self._random.randrange(20, len(data))] ^= 0xFF
            name = f"0.log.{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{self._number}.gz"
            (self.directory / name).write_bytes(data)
            for path in sorted(self.directory.glob("0.log.*.gz"), key=lambda path: path.stat().st_mtime)[:-2]:
                path.unlink()

    def clock_steps(self) -> None:
        """Times that step by hours and years."""
        for seconds in (-3600, 7200, -40 * 86400, 400 * 86400, -0.5, 0):
            self.line(b"step %d %d" % (self._number, seconds), offset_seconds=seconds)

    def slow_writer(self) -> None:
        """A log that loses its name, and is reopened late."""
        self.line(b"slow %d" % self._number)
        if self._number % 10 == 3:
            self._live.unlink()
        elif self._number % 10 == 6:
            os.close(self._file)
            self._open()

    def restart_numbers(self) -> None:
        """Restart numbers that go up, and back to 0."""
        self.line(b"restart %d" % self._number)
        if self._number % 15 == 0:
            number = self._number // 15 % 4
            self._live.unlink(missing_ok=True)
            self._live = self.directory / f"{number}.log"
            os.close(self._file)
            self._open()

    def flood(self) -> None:
        """Sixty kilobytes of lines at once."""
        moment = timestamp.format_utc(time.time_ns()).encode()
        self.write(
            b"".join(b"%b stdout F flood %d %d %b\n" % (moment, self._number, n, b"y" * 200) for n in range(250))
        )

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


KINDS: dict[str, Callable[[HostilePod], None]] = {
    kind.__name__.replace("_", "-"): kind
    for kind in (
        HostilePod.endless_line,
        HostilePod.nul_bytes,
        HostilePod.deep_json,
        HostilePod.many_keys,
        HostilePod.huge_labels,
        HostilePod.open_partial,
        HostilePod.open_trace,
        HostilePod.repeated_digits,
        HostilePod.bad_utf8,
        HostilePod.rotation_storm,
        HostilePod.damaged_archive,
        HostilePod.clock_steps,
        HostilePod.slow_writer,
        HostilePod.restart_numbers,
        HostilePod.flood,
    )
}
