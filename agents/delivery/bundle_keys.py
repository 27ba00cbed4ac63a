"""Keys of bundles: the partitions take turns, since a bundle belongs to no container's partition."""

import itertools
from collections.abc import Callable

from agents.delivery.partitioner import choose_partition


class BundleKeys:
    """The keys of a node's bundles, NODE/NUMBER: one for each partition of the topic."""

    def __init__(self, node: str, partitions: list[int]) -> None:
        self.partitions = partitions
        keys: dict[int, bytes] = {}
        for number in itertools.count():
            key = f"{node}/{number}".encode()
            keys.setdefault(choose_partition(key, partitions), key)
            if len(keys) == len(partitions):
                break
        # In the order in which they were found: each node begins with another partition.
        self._turns = itertools.cycle(keys.items())

    def next(self, is_available: Callable[[int, bytes], bool]) -> bytes:
        """Return the key of the next partition in turn that is available; if none is, of the next one."""
        for partition, key in itertools.islice(self._turns, len(self.partitions)):
            if is_available(partition, key):
                return key
        return next(self._turns)[1]
