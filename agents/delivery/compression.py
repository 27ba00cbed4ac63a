"""How hard slices are compressed: at the codecs' fast levels, for which aiokafka has no setting.

Log lines repeat themselves so much that zstd's level 1 makes them as small as its level 3 does, with a fifth less CPU;
aiokafka's lz4 works at level 9, for fifteen times the CPU of level 1 and a quarter less bytes.
"""

from aiokafka import codec

LEVEL = 1
CODECS = {"gzip": codec.gzip_encode, "lz4": codec.lz4_encode, "zstd": codec.zstd_encode}
"""The functions to which aiokafka's record batches give nothing but the bytes: the level is their last default."""


def use_fast_levels() -> None:
    """Have every producer of this process compress at the fast level, from its next batch on."""
    for encode in CODECS.values():
        encode.__defaults__ = (LEVEL,)
