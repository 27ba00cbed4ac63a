"""A batch is unpacked within a bound; what exceeds it, or cannot be read, becomes one record that says why."""

from collections.abc import Iterator
from typing import Any

import cramjam
import pytest
from aiokafka import codec
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record import default_records, legacy_records
from aiokafka.record._crecords import default_records as c_default_records
from aiokafka.record._crecords import legacy_records as c_legacy_records
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c
from aiokafka.structs import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from pipeline.kafka import record_batches
from pipeline.kafka.record_batches import UnreadableBatch

LIMIT = 1 << 16
CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
PATCHED = (codec, default_records, legacy_records, c_default_records, c_legacy_records)


@pytest.fixture(autouse=True, scope="module")
def _bounded() -> Iterator[None]:
    """Install the bound, and restore aiokafka afterwards."""
    names = ("gzip_decode", "snappy_decode", "lz4_decode", "zstd_decode")
    before = [(module, name, getattr(module, name)) for module in PATCHED for name in names if hasattr(module, name)]
    before += [(fetcher, name, getattr(fetcher, name)) for name in ("MemoryRecords", "PartitionRecords")]
    record_batches.install(LIMIT)
    yield
    for module, name, value in before:
        setattr(module, name, value)


def make_batch(codec_number: int, *values: bytes) -> bytes:
    """A batch whose first offset is 0."""
    builder = DefaultRecordBatchBuilder(2, codec_number, 0, -1, -1, 0, 1 << 30)
    for number, value in enumerate(values):
        assert builder.append(number, 1000 + number, b"k", value, [("h", b"1")]) is not None
    return bytes(builder.build())


def read(data: bytes, first: int = 0) -> list[Any]:
    """The records of fetched data."""
    batches = fetcher.MemoryRecords(data)
    assert batches.size_in_bytes() == len(data)
    topic_partition = TopicPartition("raw", 0)
    records = fetcher.PartitionRecords(topic_partition, batches, [], first, None, None, True, 0)  # noqa: FBT003
    return list(records)


@pytest.mark.parametrize("name", CODECS)
@given(values=st.lists(st.binary(max_size=200), min_size=1, max_size=5), first=st.integers(0, 5))
def test_batch_within_the_bound_is_read(name: str, values: list[bytes], first: int) -> None:
    records = read(make_batch(CODECS[name], *values), first)

    assert [(record.offset, record.value, record.headers) for record in records] == [
        (number, value, (("h", b"1"),)) for number, value in enumerate(values) if number >= first
    ]


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("size", [LIMIT - 200, LIMIT + 1, 100 * LIMIT])
def test_batch_beyond_the_bound_is_one_record(name: str, size: int) -> None:
    batch = make_batch(CODECS[name], b"first", b"a" * size, b"last")
    first, *rest = read(batch)

    if size < LIMIT:
        assert (first.value, len(rest)) == (b"first", 2)
        return
    assert rest == []
    assert isinstance(first.value, UnreadableBatch)
    assert (first.offset, first.value.first, first.timestamp) == (2, 0, 1002)
    assert "more than 65536" in first.value.reason
    assert first.value == (batch if len(batch) <= LIMIT else batch[: len(first.value)])
    assert first.value.complete == (len(first.value) == len(batch))


def test_batches_around_one_beyond_the_bound_are_read() -> None:
    good, bad = make_batch(4, b"good"), make_batch(4, bytes(2 * LIMIT))
    moved = [(number).to_bytes(8, "big") + batch[8:] for number, batch in enumerate((good, bad, good))]

    assert [(record.offset, len(record.value)) for record in read(b"".join(moved))] == [(0, 4), (1, len(bad)), (2, 4)]


@pytest.mark.parametrize("name", ["gzip", "lz4", "zstd", "snappy"])
def test_batch_that_is_no_compressed_data_is_one_record(name: str) -> None:
    batch = bytearray(make_batch(CODECS[name], b"value" * 100))
    batch[61:] = b"\x07" * len(batch[61:])
    batch[17:21] = calc_crc32c(memoryview(batch)[21:]).to_bytes(4, "big")
    (record,) = read(bytes(batch))

    assert isinstance(record.value, UnreadableBatch)
    assert record.value.reason


def test_damaged_batch_is_an_error_that_kafka_can_mend() -> None:
    batch = bytearray(make_batch(0, b"value"))
    batch[-1] ^= 1
    with pytest.raises(CorruptRecordException):
        read(bytes(batch))


def test_several_members_and_frames_count_together() -> None:
    codecs = record_batches._BoundedCodecs(10)
    gzip = codec.gzip_encode(b"12345")
    zstd = bytes(cramjam.zstd.compress(b"12345"))

    assert codecs.gzip_decode(2 * gzip) == codecs.zstd_decode(2 * zstd) == b"1234512345"
    for decode, data in ((codecs.gzip_decode, gzip), (codecs.zstd_decode, zstd)):
        with pytest.raises(record_batches.BatchTooLargeError):
            decode(3 * data)
    with pytest.raises(CorruptRecordException):
        codecs.gzip_decode(gzip[:-4])


def test_leader_epoch_is_that_of_the_batch() -> None:
    batch = bytearray(make_batch(0, b"value"))
    batch[12:16] = (7).to_bytes(4, "big")

    assert [record.checksum for record in read(bytes(batch))] == [7]
    assert not fetcher.MemoryRecords(bytes(batch[:-1])).has_next()
    assert not fetcher.MemoryRecords(b"").has_next()
