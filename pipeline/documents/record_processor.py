"""Records of the raw topic into documents: the one way that worker, audit, replay and retry go. Pure.

It knows every kind of record: slices of ours, gaps, and what other shippers write.
"""

import traceback

from pipeline.config.settings import Settings
from pipeline.contract import gap, record
from pipeline.contract.record import Headers, KafkaPosition
from pipeline.documents import third_party
from pipeline.documents.builder import DocumentBatch, DocumentBuilder, merge
from pipeline.errors import RecordError
from pipeline.rules.ruleset import Ruleset


class RecordProcessor:
    """Turns records into parcels, as the settings say."""

    def __init__(self, settings: Settings, rules: Ruleset | None = None) -> None:
        self._builder = DocumentBuilder(settings, rules)
        self._grouping = settings.grouping

    def set_rules(self, rules: Ruleset | None) -> None:
        """From now on these rules."""
        self._builder.set_rules(rules)

    def redact(self, value: bytes) -> bytes:
        """A record's value as it may be kept elsewhere, of the same length."""
        return self._builder.redact(value)

    def process(self, value: bytes, headers: Headers, origin: KafkaPosition, now_ns: int) -> tuple[DocumentBatch, str]:
        """A record's documents, and its kind: slice, gap or foreign.

        Raises RecordError when it breaks the contract, and when our own code fails on it: that would fail again, here
        and in every other worker, so the record goes to the dead letters, not the worker to its end.
        """
        try:
            return self._process(value, headers, origin, now_ns)
        except (RecordError, MemoryError):
            raise
        except Exception as fault:
            where = traceback.extract_tb(fault.__traceback__)[-1]
            place = f"{where.filename.rpartition('/')[2]}:{where.lineno}"
            words = f"crisp itself fails on it, please report: {fault!r} in {place}"
            raise RecordError(words) from fault

    def _process(self, value: bytes, headers: Headers, origin: KafkaPosition, now_ns: int) -> tuple[DocumentBatch, str]:
        if gap.is_gap(headers):
            parcel, kind = self._builder.build_gap(gap.decode(headers), now_ns), "gap"
        elif record.is_crisp_record(headers):
            parcel, kind = self._builder.build(record.decode(value, headers), now_ns), "slice"
        else:
            parts = third_party.make_slices(value, origin, self._grouping)
            parcel = merge([self._builder.build(part, now_ns, origin.document_fields()) for part in parts])
            kind = "third_party"
        parcel.origin, parcel.headers = origin, headers
        return parcel, kind
