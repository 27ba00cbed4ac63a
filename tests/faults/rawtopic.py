"""What the raw topic holds: each file's bytes put together again, and how late they came."""

from collections.abc import Iterable
from typing import Any

from pipeline.contract import cri, gap, record
from pipeline.contract.gap import Gap
from pipeline.contract.record import LogSlice
from pipeline.grouping.grouper import group_slice


class RawTopic:
    """The slices of a topic's records. Fails where one id has two contents, or a byte two values."""

    def __init__(self, records: Iterable[Any]) -> None:
        self.bytes: dict[str, bytearray] = {}
        self.duplicate_bytes = 0
        self.gaps: set[Gap] = set()
        self.largest = 0
        self.arrivals: list[tuple[float, float]] = []
        """Of each slice that brought anything new: when its first line was written, and when Kafka got it."""
        self._received: dict[str, bytearray] = {}  # a byte for each byte: whether it came
        self._events: dict[str, object] = {}
        for found in sorted(records, key=lambda one: one.timestamp):
            headers = list(found.headers)
            if gap.is_gap(headers):
                self.gaps.add(gap.decode(headers).gap)
                continue
            part = record.decode(found.value, headers)
            self.largest = max(self.largest, len(part.value))
            self._check_events(part)
            if self._add_slice(part):
                written = cri.first_time(part.value)
                assert written is not None
                self.arrivals.append((written / 1e9, found.timestamp / 1e3))

    def count_missing(self, written: dict[str, bytes]) -> int:
        """How many bytes of these files are not there; fails where others are there instead."""
        lost = 0
        for name, held in written.items():
            found, have = self.bytes.get(name, b""), self._received.get(name, b"")
            assert len(found) <= len(held), name
            wrong = [at for at, (here, byte) in enumerate(zip(have, found, strict=True)) if here and byte != held[at]]
            assert not wrong, f"{name}: other bytes at {wrong[:3]}"
            lost += len(held) - sum(have)
        assert self.bytes.keys() <= written.keys()
        return lost

    def was_outstanding(self, moment: float) -> bool:
        """Whether a line that had been written then was not in Kafka yet."""
        return any(written < moment < arrived for written, arrived in self.arrivals)

    def _add_slice(self, part: LogSlice) -> bool:
        at, fresh = 0, False
        for segment in part.segments:
            data = part.value[at : at + segment.length]
            at += segment.length
            end = segment.offset + segment.length
            name = part.files[segment.file].identity
            held, have = self.bytes.setdefault(name, bytearray()), self._received.setdefault(name, bytearray())
            for grown in (held, have):
                grown.extend(bytes(max(0, end - len(grown))))
            before = have[segment.offset : end]
            if any(before):
                self.duplicate_bytes += sum(before)
                same = held[segment.offset : end]
                assert all(here == byte for here, byte, had in zip(same, data, before, strict=True) if had)
            fresh = fresh or not all(before)
            held[segment.offset : end] = data
            have[segment.offset : end] = b"\1" * segment.length
        return fresh

    def _check_events(self, part: LogSlice) -> None:
        for index, offset, *rest in group_slice(part):
            key = record.document_id(part.files[index].identity, offset)
            assert self._events.setdefault(key, rest) == rest, f"one id, two contents: {key}"
