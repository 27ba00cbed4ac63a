"""The partition of a key, as Kafka's own clients choose it by default: murmur2 of the key."""

from collections.abc import Callable

from aiokafka.partitioner import murmur2

from pipeline.short_key_cache import ShortKeyCache

_cached_murmur2: Callable[[bytes], int] = ShortKeyCache(murmur2, 4096).__getitem__
"""In pure Python, murmur2 would be the most expensive step of a short slice."""


def choose_partition(key: bytes, partitions: list[int], _available: list[int] | None = None) -> int:
    """Choose the partition of a key; with the signature of aiokafka's partitioners."""
    return partitions[(_cached_murmur2(key) & 0x7FFFFFFF) % len(partitions)]
