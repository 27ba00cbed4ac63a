"""The content of the raw topic: the reassembled bytes of each file, and their latency."""

from collections.abc import Iterable
from typing import Any

from pipeline.contract import bundle, cri, gap, record
from pipeline.contract.gap import Gap
from pipeline.contract.record import LogSlice
from pipeline.grouping.grouper import group_slice


class RawTopic:
    """The slices of a topic's records. Fails if one id has two contents, or one byte two values."""

    def __init__(self, records: Iterable[Any]) -> None:
        self.bytes: dict[str, bytearray] = {}
        self.duplicate_bytes = 0
        self.gaps: set[Gap] = set()
        self.largest = 0
        self.arrivals: list[tuple[float, float]] = []
        """For each slice with new bytes: the time of its first line, and the time of its record."""
        self._received: dict[str, bytearray] = {}  # one byte per byte: whether it was received
        self._events: dict[str, object] = {}
        for entry in sorted(records, key=lambda entry: entry.timestamp):
            headers = list(entry.headers)
            if gap.is_gap(headers):
                self.gaps.add(gap.decode(headers).gap)
                continue
            self.largest = max(self.largest, len(entry.value))
            for value, part_headers in bundle.expand(entry.value, headers):
                log_slice = record.decode(value, part_headers)
                self._check_events(log_slice)
                if self._add_slice(log_slice):
                    written = cri.first_time(log_slice.value)
                    assert written is not None
                    self.arrivals.append((written / 1e9, entry.timestamp / 1e3))

    def count_missing(self, written: dict[str, bytes]) -> int:
        """Return the number of missing bytes of these files; fails if any byte differs."""
        lost = 0
        for name, content in written.items():
            data, received = self.bytes.get(name, b""), self._received.get(name, b"")
            assert len(data) <= len(content), name
            pairs = enumerate(zip(received, data, strict=True))
            different = [offset for offset, (present, byte) in pairs if present and byte != content[offset]]
            assert not different, f"{name}: other bytes at {different[:3]}"
            lost += len(content) - sum(received)
        assert self.bytes.keys() <= written.keys()
        return lost

    def was_outstanding(self, moment: float) -> bool:
        """Return whether at that moment a written line was not in Kafka yet."""
        return any(written < moment < arrived for written, arrived in self.arrivals)

    def _add_slice(self, log_slice: LogSlice) -> bool:
        """Add the bytes of a slice; return whether any of them is new."""
        start, is_new = 0, False
        for segment in log_slice.segments:
            data = log_slice.value[start : start + segment.length]
            start += segment.length
            end = segment.offset + segment.length
            name = log_slice.files[segment.file].identity
            content, received = self.bytes.setdefault(name, bytearray()), self._received.setdefault(name, bytearray())
            for array in (content, received):
                array.extend(bytes(max(0, end - len(array))))
            before = received[segment.offset : end]
            if any(before):
                self.duplicate_bytes += sum(before)
                known = content[segment.offset : end]
                assert all(old == new for old, new, was_known in zip(known, data, before, strict=True) if was_known)
            is_new = is_new or not all(before)
            content[segment.offset : end] = data
            received[segment.offset : end] = b"\1" * segment.length
        return is_new

    def _check_events(self, log_slice: LogSlice) -> None:
        for index, offset, *rest in group_slice(log_slice):
            key = record.document_id(log_slice.files[index].identity, offset)
            assert self._events.setdefault(key, rest) == rest, f"one id, two contents: {key}"
