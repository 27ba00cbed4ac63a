"""Archives of rotated logs: gzip files, decompressed once into an unlinked temporary file."""

import os
import tempfile
import zlib
from pathlib import Path

from pipeline.contract import record

MAX_DECOMPRESSED_BYTES = 1 << 30
_BLOCK_BYTES = 1 << 18
_GZIP = 31  # wbits: gzip's own header and checksum, as in RFC 1952


def decompress(descriptor: int, scratch: Path) -> tuple[int, bool]:
    """Decompress a gzip file into an unlinked file in `scratch`; return its descriptor, and whether it was intact.

    The data before an error in the archive is kept, up to MAX_DECOMPRESSED_BYTES. Of concatenated archives, which no
    log rotation makes, the first is kept, and the file does not count as intact. The compressed file's descriptor is
    closed, unless OSError is raised: then nothing can be written to the scratch directory.
    """
    decompressor = zlib.decompressobj(wbits=_GZIP)
    position, intact = 0, True
    with tempfile.TemporaryFile(dir=scratch) as target:
        try:
            while not decompressor.eof and target.tell() < MAX_DECOMPRESSED_BYTES:
                block = decompressor.unconsumed_tail
                if not block:
                    block = os.pread(descriptor, _BLOCK_BYTES, position)
                    position += len(block)
                decompressed = decompressor.decompress(block, min(_BLOCK_BYTES, MAX_DECOMPRESSED_BYTES - target.tell()))
                target.write(decompressed)
                if not block and not decompressed:
                    break
        except zlib.error:
            intact = False
        target.flush()
        trailing = decompressor.unused_data + os.pread(descriptor, _BLOCK_BYTES, position)
        os.close(descriptor)
        return os.dup(target.fileno()), intact and decompressor.eof and not trailing.strip(b"\0")


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
