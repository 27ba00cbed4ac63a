"""Process records of the raw topic into documents, for the worker, audit, replay and retry alike. Pure.

Supports every kind of record: slices, gaps, and the records of third-party shippers.
"""

import traceback

from pipeline.config.settings import Settings
from pipeline.contract import gap, record
from pipeline.contract.record import Grouping, Headers, KafkaPosition, LogSlice
from pipeline.documents import third_party
from pipeline.documents.batch import DocumentBatch, merge
from pipeline.documents.builder import DocumentBuilder
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

    def process(self, value: bytes, headers: Headers, origin: KafkaPosition, now_ns: int) -> tuple[DocumentBatch, str]:
        """Return a record's documents and its kind: slice, gap or third_party.

        Raises RecordError if the record violates the contract, and also if crisp's own code fails on it: every worker
        would fail on it again, so the record is dead-lettered instead of crashing the worker.
        """
        try:
            return self._process(value, headers, origin, now_ns)
        except (RecordError, MemoryError):
            raise
        except Exception as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            location = f"{frame.filename.rpartition('/')[2]}:{frame.lineno}"
            message = f"internal error of crisp, please report: {error!r} in {location}"
            raise RecordError(message) from error

    def _process(self, value: bytes, headers: Headers, origin: KafkaPosition, now_ns: int) -> tuple[DocumentBatch, str]:
        if gap.is_gap(headers):
            batch, kind = self._builder.build_gap(gap.decode(headers), now_ns), "gap"
        elif record.is_crisp_record(headers):
            batch, kind = self._builder.build(record.decode(value, headers), now_ns), "slice"
        else:
            slices = third_party.make_slices(value, origin, self._grouping)
            batch = merge([self._builder.build(entry, now_ns, origin.document_fields()) for entry in slices])
            kind = "third_party"
        batch.origin, batch.headers = origin, headers
        return batch, kind
