"""Reads fetched record batches with a bound on what they unpack to. `install` makes all consumers of a process use it.

aiokafka unpacks a batch whole, whatever its size: a few hundred kilobytes can become gigabytes. Here a batch that
exceeds the bound, or that cannot be read, becomes one record whose value is an `UnreadableBatch`, at the batch's last
offset. Batches of transactions that were aborted are read like all others (isolation level `read_uncommitted`).

Format of batches: https://kafka.apache.org/documentation/#recordbatch
"""

import struct
import threading
import zlib
from collections.abc import Iterator
from typing import Any

import cramjam
from aiokafka import codec
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException, KafkaError, UnsupportedCodecError
from aiokafka.record import default_records, legacy_records
from aiokafka.record._crecords import default_records as c_default_records
from aiokafka.record._crecords import legacy_records as c_legacy_records
from aiokafka.structs import ConsumerRecord

_LENGTH = struct.Struct(">8xi")
_EPOCH_AND_MAGIC = struct.Struct(">12xib")
_OVERHEAD = 12
_MINIMUM = 26
_EXCERPT_BYTES = 64 * 1024
_SNAPPY_BLOCK = struct.Struct(">i")
_SNAPPY_HEADER = 16


class BatchTooLargeError(KafkaError):  # type: ignore[misc] # aiokafka ships no types
    """A batch unpacks to more bytes than allowed."""


class UnreadableBatch(bytes):
    """The value of a record that stands for a whole batch: the batch's bytes, or the first of them.

    `reason` is why it cannot be read, `first` its first offset; `complete` is whether these are all of its bytes.
    """

    reason: str
    first: int
    complete: bool


def install(unpack_max_bytes: int) -> None:
    """Bound what each batch may unpack to, for all consumers of this process that are created later."""
    codecs = _BoundedCodecs(unpack_max_bytes)
    for module in (codec, default_records, legacy_records, c_default_records, c_legacy_records):
        for name in ("gzip_decode", "snappy_decode", "lz4_decode", "zstd_decode"):
            if hasattr(module, name):
                setattr(module, name, getattr(codecs, name))
    fetcher.MemoryRecords = type("RecordBatches", (RecordBatches,), {"max_bytes": unpack_max_bytes})
    fetcher.PartitionRecords = PartitionRecords


class _BoundedCodecs:
    """The decoders of aiokafka's `codec` with a bound. Their methods raise BatchTooLargeError."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._local = threading.local()  # a new buffer for every batch would double the time

    def gzip_decode(self, payload: Any) -> bytes:
        """Decode gzip, of one or several members."""
        unpacked, rest = bytearray(), bytes(payload)
        while rest:
            decoder = zlib.decompressobj(zlib.MAX_WBITS | 16)
            unpacked += decoder.decompress(rest, self._limit + 1 - len(unpacked))
            self._check(len(unpacked))
            if not decoder.eof:
                raise CorruptRecordException("gzip data are truncated")
            rest = decoder.unused_data
        return bytes(unpacked)

    def snappy_decode(self, payload: Any) -> bytes:
        """Decode snappy: one block, or blocks in the framing of xerial's library."""
        data = bytes(payload)
        if not codec._detect_xerial_stream(data):  # noqa: SLF001
            return self._snappy_block(data, 0)
        unpacked, position = bytearray(), _SNAPPY_HEADER
        while position < len(data):
            (size,) = _SNAPPY_BLOCK.unpack_from(data, position)
            position += _SNAPPY_BLOCK.size
            if size < 0:
                raise CorruptRecordException(f"snappy block of {size} bytes")
            unpacked += self._snappy_block(data[position : position + size], len(unpacked))
            position += size
        return bytes(unpacked)

    def _snappy_block(self, data: bytes, before: int) -> bytes:
        self._check(before + cramjam.snappy.decompress_raw_len(data))
        return bytes(cramjam.snappy.decompress_raw(data))

    def lz4_decode(self, payload: Any) -> bytes:
        """Decode an LZ4 frame."""
        return self._decode(cramjam.lz4, payload)

    def zstd_decode(self, payload: Any) -> bytes:
        """Decode zstd frames."""
        return self._decode(cramjam.zstd, payload)

    def _decode(self, library: Any, payload: Any) -> bytes:
        buffer = getattr(self._local, "buffer", None)
        if buffer is None:
            buffer = self._local.buffer = bytearray(self._limit + 1)  # the system provides its pages when needed
        try:
            size = library.decompress_into(payload, buffer)
        except cramjam.DecompressionError as error:
            if "whole buffer" in str(error):
                self._check(self._limit + 1)
            raise
        self._check(size)
        return bytes(memoryview(buffer)[:size])

    def _check(self, size: int) -> None:
        if size > self._limit:
            raise BatchTooLargeError(f"the batch unpacks to more than {self._limit} bytes")


class RecordBatches:
    """The batches of one fetched partition, in place of aiokafka's `MemoryRecords`."""

    max_bytes = 0

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self._position = 0
        self.batch_bytes = self._data[:0]
        """The last batch returned by `next_batch`."""

    def size_in_bytes(self) -> int:
        """Return the size of all data, also of an incomplete batch at the end."""
        return len(self._data)

    def _end(self) -> int:
        """Return the end of the next batch; 0 if there is no complete one."""
        if len(self._data) - self._position < _OVERHEAD:
            return 0
        end = self._position + _OVERHEAD + int(_LENGTH.unpack_from(self._data, self._position)[0])
        return end if end <= len(self._data) else 0

    def has_next(self) -> bool:
        """Return whether there is another complete batch."""
        return self._end() > 0

    def next_batch(self) -> Any:
        """Return the next batch, still packed."""
        end = self._end()
        self.batch_bytes = self._data[self._position : end]
        if end - self._position < _MINIMUM:
            raise CorruptRecordException(f"a batch of {end - self._position} bytes")
        self._position = end
        magic = self.batch_bytes[16]
        if magic >= 2:
            return default_records.DefaultRecordBatch(self.batch_bytes)
        return legacy_records.LegacyRecordBatch(self.batch_bytes, magic)

    def leader_epoch(self) -> int:
        """Return the leader epoch in which the last batch was written; -1 if it has none."""
        epoch, magic = _EPOCH_AND_MAGIC.unpack_from(self.batch_bytes)
        return int(epoch) if magic >= 2 else -1


class PartitionRecords(fetcher.PartitionRecords):  # type: ignore[misc] # aiokafka ships no types
    """Unpacks batches one by one. The `checksum` of each record, which Kafka no longer has, is its leader epoch."""

    def _unpack_records(self) -> Iterator[Any]:
        while self._records.has_next():
            batch = self._records.next_batch()
            if self._check_crcs and not batch.validate_crc():
                raise CorruptRecordException(f"Invalid CRC - {self._tp}")
            if not batch.is_control_batch:
                yield from self._read(batch)
            self.next_fetch_offset = batch.next_offset

    def _read(self, batch: Any) -> Iterator[Any]:
        epoch = self._records.leader_epoch()
        size = len(self._records.batch_bytes)
        try:
            if size > self._records.max_bytes:
                raise BatchTooLargeError(f"the batch has {size} bytes, more than {self._records.max_bytes}")
            for record in batch:
                if record.offset >= self.next_fetch_offset:
                    consumer_record = self._consumer_record(self._tp, record)
                    consumer_record.checksum = epoch
                    self.next_fetch_offset = record.offset + 1
                    yield consumer_record
        except UnsupportedCodecError:
            raise
        except (KafkaError, cramjam.DecompressionError, zlib.error, ValueError) as error:
            yield self._unreadable(batch, epoch, error)

    def _unreadable(self, batch: Any, epoch: int, error: Exception) -> ConsumerRecord:
        """Return a record that stands for a batch."""
        data = self._records.batch_bytes
        complete = len(data) <= self._records.max_bytes
        value = UnreadableBatch(data if complete else data[:_EXCERPT_BYTES])
        value.reason, value.first, value.complete = (
            str(error).removeprefix("BatchTooLargeError: "),
            self.next_fetch_offset,
            complete,
        )
        self.next_fetch_offset = batch.next_offset
        return ConsumerRecord(
            self._tp.topic,
            self._tp.partition,
            batch.next_offset - 1,
            batch.max_timestamp or 0,
            batch.timestamp_type or 0,
            None,
            value,
            epoch,
            -1,
            len(value),
            (),
        )
