"""Process records of the raw topic into documents, for the worker, audit, replay and retry alike. Pure.

Supports every kind of record: slices, gaps, and the records of third-party shippers.
"""

import traceback
from collections.abc import Iterator

from pipeline.config.settings import Settings
from pipeline.contract import gap, record
from pipeline.contract.record import Grouping, Headers, KafkaPosition, LogSlice
from pipeline.documents import third_party
from pipeline.documents.batch import DocumentBatch, merge
from pipeline.documents.builder import DocumentBuilder
from pipeline.documents.slice_builder import UNLIMITED
from pipeline.errors import RecordError
from pipeline.rules.ruleset import Ruleset


def read_slices(value: bytes, headers: Headers, origin: KafkaPosition, grouping: Grouping) -> list[LogSlice]:
    """Return the slices of a record; none for a gap. Raises RecordError if the record violates the contract."""
    if gap.is_gap(headers):
        return []
    if record.is_crisp_record(headers):
        return [record.decode(value, headers)]
    return third_party.make_slices(value, origin, grouping)


class RecordProcessor:
    """Processes records into document batches."""

    def __init__(self, settings: Settings, rules: Ruleset | None = None) -> None:
        self._builder = DocumentBuilder(settings, rules)
        self._grouping = settings.grouping

    def set_rules(self, rules: Ruleset | None) -> None:
        """Replace the rules for all later records."""
        self._builder.set_rules(rules)

    def redact(self, value: bytes) -> bytes:
        """Mask the secrets in a record's value before it is stored elsewhere; the length stays the same."""
        return self._builder.redact(value)

    @property
    def redacts(self) -> bool:
        """Whether anything is redacted."""
        return self._builder.redacts

    def process(self, value: bytes, headers: Headers, origin: KafkaPosition, now_ns: int) -> tuple[DocumentBatch, str]:
        """Return a record's documents and its kind: slice, gap or third_party.

        Raises RecordError if the record violates the contract, and also if crisp's own code fails on it: every worker
        would fail on it again, so the record is dead-lettered instead of crashing the worker.
        """
        parts = list(self.process_in_parts(value, headers, origin, now_ns))
        batch = parts[0][0] if len(parts) == 1 else merge([part for part, _ in parts])
        batch.origin, batch.headers = origin, headers
        return batch, parts[0][1]

    def process_in_parts(
        self, value: bytes, headers: Headers, origin: KafkaPosition, now_ns: int, part_bytes: int = UNLIMITED
    ) -> Iterator[tuple[DocumentBatch, str]]:
        """Yield a record's documents in parts of about this size, at least one, each with the record's kind.

        A part is built when it is asked for. Raises RecordError as `process` does, possibly after some parts.
        """
        try:
            for batch, kind in self._parts(value, headers, origin, now_ns, part_bytes):
                batch.origin, batch.headers = origin, headers
                yield batch, kind
        except (RecordError, MemoryError):
            raise
        except Exception as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            location = f"{frame.filename.rpartition('/')[2]}:{frame.lineno}"
            message = f"internal error of crisp, please report: {error!r} in {location}"
            raise RecordError(message) from error

    def _parts(
        self, value: bytes, headers: Headers, origin: KafkaPosition, now_ns: int, part_bytes: int
    ) -> Iterator[tuple[DocumentBatch, str]]:
        written_ns = max(0, origin.timestamp) * 1_000_000
        if gap.is_gap(headers):
            yield self._builder.build_gap(gap.decode(headers), now_ns, written_ns), "gap"
        elif record.is_crisp_record(headers):
            log_slice = record.decode(value, headers)
            for batch in self._builder.build_in_parts(log_slice, now_ns, None, part_bytes, written_ns):
                yield batch, "slice"
        else:
            for batch in self._third_party_parts(value, origin, now_ns, part_bytes):
                yield batch, "third_party"

    def _third_party_parts(
        self, value: bytes, origin: KafkaPosition, now_ns: int, part_bytes: int
    ) -> Iterator[DocumentBatch]:
        """Yield parts of one or more slices: each JSON line is a slice."""
        batches, size = list[DocumentBatch](), 0
        written_ns = max(0, origin.timestamp) * 1_000_000
        for log_slice in third_party.make_slices(value, origin, self._grouping):
            extra_fields = origin.document_fields()
            for batch in self._builder.build_in_parts(log_slice, now_ns, extra_fields, part_bytes, written_ns):
                if batches and size + batch.size > part_bytes:
                    yield batches[0] if len(batches) == 1 else merge(batches)
                    batches, size = [], 0
                batches.append(batch)
                size += batch.size
        yield batches[0] if len(batches) == 1 else merge(batches)
