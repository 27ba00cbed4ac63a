"""Archives of rotated logs: gzip files, decompressed once into an unlinked temporary file.

The only checksum of a gzip file is at its end. Behind a damaged byte nothing is certain: the decompressor usually
goes on, and produces text that was never written. Of a damaged archive only the lines are kept that stand
well before the first sign of damage: an error of the decompressor, or a line that is no log line or is out of time.
"""

import os
import tempfile
import zlib
from pathlib import Path
from typing import BinaryIO

from pipeline.contract import cri, record

MAX_DECOMPRESSED_BYTES = 1 << 30
_BLOCK_BYTES = 1 << 18
_GZIP = 31  # wbits: gzip's own header and checksum, as in RFC 1952
UNCERTAIN_BYTES = 1 << 16  # before the first sign of damage: twice the distance that DEFLATE refers back
_NUL_TAIL_BYTES = 8  # the checksum and the size at the end of an archive have fewer
_LONGEST_LINE = 2 << 20
_EARLIEST_NS, _LATEST_NS = -2 * 10**9, 24 * 3600 * 10**9  # time of a line after the line before it


def decompress(descriptor: int, scratch: Path) -> tuple[int, bool]:
    """Decompress a gzip file into an unlinked file in `scratch`; return its descriptor, and whether it was intact.

    Of a file that ends early everything is kept, up to MAX_DECOMPRESSED_BYTES; of a damaged one the certain lines;
    nothing if its checksum is wrong and no line shows where. Of concatenated archives, which no log rotation makes,
    the first is kept, and the file does not count as intact. The compressed file's descriptor is closed, unless
    OSError is raised: then it cannot be read, or nothing can be written to the scratch directory.
    """
    with tempfile.TemporaryFile(dir=scratch) as target:
        complete, error = _decompress_into(descriptor, target)
        target.flush()
        if error:
            target.truncate(_end_of_certain_lines(target, checksum_only="incorrect data check" in error))
        copy = os.dup(target.fileno())
        os.close(descriptor)
        return copy, complete


def _decompress_into(descriptor: int, target: BinaryIO) -> tuple[bool, str]:
    """Write the decompressed data before the first error; return whether it is complete, and the error."""
    decompressor, position, size = zlib.decompressobj(wbits=_GZIP), 0, _size_without_nul_tail(descriptor)
    while not decompressor.eof and target.tell() < MAX_DECOMPRESSED_BYTES:
        block = decompressor.unconsumed_tail
        if not block:
            block = os.pread(descriptor, min(_BLOCK_BYTES, size - position), position)
            position += len(block)
        before = decompressor.copy()
        try:
            data = decompressor.decompress(block, min(_BLOCK_BYTES, MAX_DECOMPRESSED_BYTES - target.tell()))
        except zlib.error as error:
            _write_until_error(before, block, target)
            return False, str(error)
        target.write(data)
        if not block and not data:
            decompressor = _finish_with_nuls(decompressor, os.pread(descriptor, 2 * _NUL_TAIL_BYTES, size))
            break
    trailing = decompressor.unused_data + os.pread(descriptor, _BLOCK_BYTES, position)
    return decompressor.eof and not trailing.strip(b"\0"), ""


def _size_without_nul_tail(descriptor: int) -> int:
    """Return the size without the NULs that a torn write leaves at the end; fewer of them may be the archive's own."""
    size = end = os.fstat(descriptor).st_size
    while end:
        start = max(0, end - _BLOCK_BYTES)
        rest = os.pread(descriptor, end - start, start).rstrip(b"\0")
        end = start + len(rest)
        if rest:
            break
    return end if size - end >= _NUL_TAIL_BYTES else size


def _finish_with_nuls(decompressor: "zlib._Decompress", nuls: bytes) -> "zlib._Decompress":
    """Return the decompressor after the NULs that belong to checksum and size, if they complete the archive."""
    finished = decompressor.copy()
    try:
        complete = not finished.decompress(nuls) and finished.eof
    except zlib.error:
        return decompressor
    return finished if complete else decompressor


def _write_until_error(decompressor: "zlib._Decompress", block: bytes, target: BinaryIO) -> None:
    """Write what a block has before its error: in one step it is lost, byte by byte it is not."""
    try:
        target.writelines(decompressor.decompress(block[number : number + 1]) for number in range(len(block)))
    except zlib.error:
        return


def _end_of_certain_lines(target: BinaryIO, *, checksum_only: bool) -> int:
    """Return the end of the lines that are certain, although the archive is damaged."""
    size = target.seek(0, os.SEEK_END)
    damage = _find_damage(target)
    if damage is None and checksum_only:
        return 0
    stop = (size if damage is None else damage) - UNCERTAIN_BYTES
    start = max(0, stop - _LONGEST_LINE)
    newline = os.pread(target.fileno(), max(0, stop - start), start).rfind(b"\n")
    return start + newline + 1 if newline >= 0 else 0


def _find_damage(target: BinaryIO) -> int | None:
    """Return the start of the first line that is no log line, or whose time does not follow the line before it."""
    target.seek(0)
    position, previous = 0, None
    while raw := target.readline(_LONGEST_LINE):
        line = cri.parse(raw.removesuffix(b"\n"))
        time = None if line is None else cri.nanoseconds(line.time)
        if time is None or (previous is not None and not _EARLIEST_NS <= time - previous <= _LATEST_NS):
            return position
        position, previous = position + len(raw), time
    return None


def decompressed_head(descriptor: int) -> bytes:
    """Return the first decompressed bytes of a gzip file; empty for a corrupt one."""
    try:
        return zlib.decompressobj(wbits=_GZIP).decompress(os.pread(descriptor, 65536, 0), record.FIRST_LINE_BYTES)
    except zlib.error:
        return b""


def decompressed_size(descriptor: int) -> int:
    """Return the size in the trailer of a gzip file (RFC 1952, ISIZE): not verified, modulo 4 GiB."""
    compressed_size = os.fstat(descriptor).st_size
    return int.from_bytes(os.pread(descriptor, 4, compressed_size - 4), "little")
