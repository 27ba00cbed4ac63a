"""Runs of NUL bytes in a log: holes of a sparse file, blocks that a crash tore. What of them need not be sent.

Holes are found by `SEEK_DATA` and cost nothing to read; a file system without it shows them as data. The rule depends
on the bytes alone, so that a copy of the file, or a second try, gives the same events: of a long run that begins a line
(or a part of an oversized one) all whole blocks are left out, but for the bytes that let the line behind them be
recognised as one behind NUL bytes (`pipeline.documents.nul_bytes`).
"""

import errno
import os

NUL = b"\0"
BLOCK_BYTES = 4096
KEPT_BYTES = 512
READ_BYTES = 256 * 1024
MAX_READ_BYTES = 16 * 1024 * 1024
"""Of data that is no hole, in one call: the rest of the run is measured in the next one."""


def omissible_bytes(descriptor: int, start: int, event_bytes: int) -> int:
    """Return how many bytes from `start` on, where a line or a part of one begins, need not be sent.

    A run shorter than an event is sent, unless it is the rest of one of which the start was left out: a file may end
    within a run, and grow.
    """
    is_rest = start > 0 and os.pread(descriptor, 1, start - 1) == NUL
    size = _end(descriptor, start) - start
    if size < (BLOCK_BYTES + KEPT_BYTES if is_rest else max(event_bytes, BLOCK_BYTES + KEPT_BYTES)):
        return 0
    return (size - KEPT_BYTES) // BLOCK_BYTES * BLOCK_BYTES


def _end(descriptor: int, start: int) -> int:
    """Return the end of the run of NUL bytes from `start` on, or where `MAX_READ_BYTES` of data were read."""
    position, read = start, 0
    while read < MAX_READ_BYTES:
        position = _next_data(descriptor, position)
        block = os.pread(descriptor, READ_BYTES, position)
        rest = block.lstrip(NUL)
        position += len(block) - len(rest)
        read += len(block)
        if rest or not block:
            break
    return position


def _next_data(descriptor: int, position: int) -> int:
    """Return the next offset that is in no hole; the file's size behind the last data."""
    try:
        return os.lseek(descriptor, position, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return max(position, os.fstat(descriptor).st_size)
        if error.errno in (errno.EINVAL, errno.EOPNOTSUPP):
            return position  # a file system without holes
        raise
