"""The partition of a key, as Kafka's own clients choose it by default: murmur2 of the key."""

import functools
from collections.abc import Callable

from aiokafka.partitioner import murmur2

_cached_murmur2: Callable[[bytes], int] = functools.lru_cache(maxsize=16384)(murmur2)
"""In pure Python, murmur2 would be the most expensive step of a short slice."""


def choose_partition(key: bytes, partitions: list[int], _available: list[int] | None = None) -> int:
    """Choose the partition of a key; with the signature of aiokafka's partitioners."""
    return partitions[(_cached_murmur2(key) & 0x7FFFFFFF) % len(partitions)]
