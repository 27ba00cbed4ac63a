"""Caches of texts that tenants write are bounded in bytes, and change no result."""

import sys
import tracemalloc
from collections.abc import Callable

import orjson
import pytest
from aiokafka.partitioner import murmur2

from agents.delivery import partitioner
from pipeline.contract import cri, record
from pipeline.contract.record import Grouping, LogSlice, Segment, SourceFile
from pipeline.grouping.grouper import group_slice
from pipeline.parsing import field_values
from pipeline.parsing.json import json_body
from pipeline.parsing.text import head_formats
from pipeline.short_key_cache import MAX_KEY_LENGTH, ShortKeyCache

LENGTH = 50_000


def _logged(number: int) -> str:
    return f"{number}".rjust(LENGTH, "x")


def _decode(number: int) -> None:
    """Decode a record whose pattern is long, in a mode without a pattern."""
    grouping = Grouping("off", pattern=_logged(number))
    file = SourceFile(record.random_identity(bytes(12)), "/0.log")
    log_slice = LogSlice(b"x\n", (file,), (Segment(0, 0, 2),), "node", 1, Grouping(), b"{}")
    value, headers = record.encode(log_slice)
    fields = dict(headers) | {"grouping": orjson.dumps(grouping._asdict())}
    decoded = record.decode(value, list(fields.items()))
    assert decoded.grouping == grouping
    group_slice(decoded)


FUNCTIONS: list[Callable[[int], object]] = [
    lambda number: head_formats.is_logger(_logged(number)),
    lambda number: head_formats.is_file(_logged(number)),
    lambda number: head_formats.may_be_thread(_logged(number)),
    lambda number: head_formats.is_thread(_logged(number)),
    lambda number: field_values.parse_ip(_logged(number)),
    lambda number: json_body.permitted_name(_logged(number)),
    lambda number: json_body.parse(orjson.dumps({_logged(number): 1, "message": "x"}), 1000),
    lambda number: json_body.parse(orjson.dumps({f"{number}-{other}-{'x' * 4000}": 1 for other in range(12)}), 1000),
    lambda number: cri.parse(_logged(number).encode() + b" stdout F x"),
    lambda number: cri.parse(orjson.dumps({"log": "x\n", "stream": "stdout", "time": _logged(number)})),
    lambda number: cri.has_time(_logged(number).encode()),
    lambda number: partitioner.choose_partition(_logged(number)[-600:].encode(), [0, 1]),
    _decode,
]


@pytest.mark.parametrize("call", FUNCTIONS, ids=range(len(FUNCTIONS)))
def test_long_texts_are_not_kept(call: Callable[[int], object]) -> None:
    call(-1)
    tracemalloc.start()
    try:
        for number in range(60):
            call(number)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert held < 10 * LENGTH


def test_plans_of_shapes_are_bounded_in_bytes() -> None:
    for number in range(1500):
        json_body.parse(orjson.dumps({f"{number}-{other}-{'x' * 200}": 1 for other in range(40)}), 1000)

    names = [name for shape in json_body._plans for name in shape if isinstance(name, str)]
    assert 0 < sum(map(sys.getsizeof, names)) <= json_body._PLANS_MAX_BYTES


def test_cache_computes_short_keys_once_and_long_ones_each_time() -> None:
    computed: list[str] = []

    def length(key: str) -> int:
        computed.append(key)
        return len(key)

    cache = ShortKeyCache(length, max_entries=2)
    for key in ("a", "a", "x" * MAX_KEY_LENGTH, "a", "x" * (MAX_KEY_LENGTH + 1), "x" * (MAX_KEY_LENGTH + 1), "b", "a"):
        assert cache[key] == len(key)

    assert [len(key) for key in computed] == [1, 256, 257, 257, 1, 1]
    assert len(cache) <= 2


def test_partition_is_that_of_kafka_for_any_length() -> None:
    for length in (0, 1, MAX_KEY_LENGTH, MAX_KEY_LENGTH + 1):
        key = b"k" * length
        assert partitioner.choose_partition(key, list(range(7))) == (murmur2(key) & 0x7FFFFFFF) % 7
