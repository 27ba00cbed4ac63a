"""Compression at the codecs' fast levels, for which aiokafka has no setting.

Log lines are so repetitive that zstd level 1 compresses them as well as level 3, with a fifth less CPU. aiokafka's
lz4 uses level 9: fifteen times the CPU of level 1 for a quarter less bytes.
"""

from aiokafka import codec

LEVEL = 1
CODECS = {"gzip": codec.gzip_encode, "lz4": codec.lz4_encode, "zstd": codec.zstd_encode}
"""aiokafka's record batches call these with the bytes only: the level is their last default argument."""


def use_fast_levels() -> None:
    """Set the fast level for every producer of this process, from its next batch on.

    This changes the default argument of aiokafka's functions, for the whole process, because there is no other way: its
    record batches, which are compiled, look the functions up themselves and pass the bytes only. A test fails if
    aiokafka changes that. The worker's producer, which sends dead letters only, keeps aiokafka's levels.
    """
    for encode in CODECS.values():
        encode.__defaults__ = (LEVEL,)
