"""Bundles go to the partitions in turn, past those that are not available."""

from collections import Counter

import pytest

from agents.delivery.bundle_keys import BundleKeys
from agents.delivery.partitioner import choose_partition


@pytest.mark.parametrize("partitions", [[0], [0, 1, 2], list(range(48)), [0, 3, 7]])
def test_every_partition_is_chosen_equally_often(partitions: list[int]) -> None:
    keys = BundleKeys("node-1", partitions)
    chosen = Counter(choose_partition(keys.next(lambda *_: True), partitions) for _ in range(5 * len(partitions)))

    assert chosen == dict.fromkeys(partitions, 5)


def test_unavailable_partitions_are_passed_over() -> None:
    keys = BundleKeys("node-1", [0, 1, 2, 3])
    available = {0, 2}

    def is_available(partition: int, key: bytes) -> bool:
        assert choose_partition(key, [0, 1, 2, 3]) == partition
        assert key.startswith(b"node-1/")
        return partition in available

    chosen = Counter(choose_partition(keys.next(is_available), [0, 1, 2, 3]) for _ in range(40))
    assert set(chosen) == {0, 2}
    assert min(chosen.values()) >= 8
    available.clear()
    assert len({keys.next(is_available) for _ in range(8)}) == 4  # records wait, evenly


def test_nodes_begin_with_different_partitions() -> None:
    partitions = list(range(12))
    firsts = {
        choose_partition(BundleKeys(f"node-{n}", partitions).next(lambda *_: True), partitions) for n in range(60)
    }

    assert len(firsts) > 8
