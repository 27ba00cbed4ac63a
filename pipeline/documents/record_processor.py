"""Process records of the raw topic into documents, for the worker, audit, replay and retry alike. Pure.

Supports every kind of record: slices, gaps, and the records of third-party shippers.
"""

import traceback
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import fields

import pipeline
from pipeline.config.settings import DocumentSettings, Settings
from pipeline.contract import bundle, gap, record
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
    if bundle.is_bundle(headers):
        return [record.decode(part.value, part.headers) for part in bundle.split(value, headers)]
    if record.is_crisp_record(headers):
        return [record.decode(value, headers)]
    return third_party.make_slices(value, origin, grouping)


def _routing(settings: Settings, rules: Ruleset | None) -> str:
    """Return the digest. The prefix is not in it: under another prefix is another set of indices.

    A rule may select the route by any field of a document: then everything that makes fields is in the digest.
    """
    values: list[object] = [settings.retention_days, sorted(settings.routes.items()), settings.infra_namespaces]
    if rules is not None and any(rule.kind == "route" for rule in rules.rules):
        names = [field.name for field in fields(DocumentSettings)]
        values += [rules.digest, pipeline.__version__, *(getattr(settings, name) for name in names)]
    return f"{zlib.crc32(repr(values).encode()):08x}"


class RecordProcessor:
    """Processes records into document batches."""

    def __init__(self, settings: Settings, rules: Ruleset | None = None) -> None:
        self._builder = DocumentBuilder(settings, rules)
        self._grouping = settings.grouping
        self._settings = settings
        self.routing = _routing(settings, rules)
        """Digest of what decides a document's index, eight hexadecimal digits."""

    def changes_routing(self, rules: Ruleset | None) -> bool:
        """Return whether these rules may select other indices than those in force."""
        return _routing(self._settings, rules) != self.routing

    def set_rules(self, rules: Ruleset | None) -> None:
        """Replace the rules for all later records."""
        self._builder.set_rules(rules)
        self.routing = _routing(self._settings, rules)

    def redact(self, value: bytes) -> bytes:
        """Mask the secrets in a record's value before it is stored elsewhere; the length stays the same."""
        return self._builder.redact(value)

    @property
    def redacts(self) -> bool:
        """Whether anything is redacted."""
        return self._builder.redacts

    def process(self, value: bytes, headers: Headers, origin: KafkaPosition, now_ns: int) -> tuple[DocumentBatch, str]:
        """Return a record's documents and its kind: slice (or slices), gap or third_party.

        Raises RecordError if the record, or a part of it, violates the contract, and also if crisp's own code fails on
        it: every worker would fail on it again, so the record is dead-lettered instead of crashing the worker.
        """
        parts = list(self.process_in_parts(value, headers, origin, now_ns))
        batch = parts[0][0] if len(parts) == 1 else merge([part for part, _ in parts])
        if batch.invalid:
            raise RecordError(f"part of {batch.invalid[0][0].key.decode()}: {batch.invalid[0][1]}")
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
            raise RecordError(_describe_internal(error)) from error

    def _parts(
        self, value: bytes, headers: Headers, origin: KafkaPosition, now_ns: int, part_bytes: int
    ) -> Iterator[tuple[DocumentBatch, str]]:
        written_ns = max(0, origin.timestamp) * 1_000_000
        if gap.is_gap(headers):
            yield self._builder.build_gap(gap.decode(headers), now_ns, written_ns), "gap"
        elif bundle.is_bundle(headers):
            for batch in _group(self._build_bundle(value, headers, now_ns, part_bytes, written_ns), part_bytes):
                yield batch, "slice"
        elif record.is_crisp_record(headers):
            log_slice = record.decode(value, headers)
            for batch in self._builder.build_in_parts(log_slice, now_ns, None, part_bytes, written_ns):
                yield batch, "slice"
        else:
            for batch in _group(self._build_third_party(value, origin, now_ns, part_bytes, written_ns), part_bytes):
                yield batch, "third_party"

    def _build_bundle(
        self, value: bytes, headers: Headers, now_ns: int, part_bytes: int, written_ns: int
    ) -> Iterator[DocumentBatch]:
        """Yield the batches of a bundle's parts; a part that is invalid, or that crisp fails on, concerns no other."""
        for part in bundle.split(value, headers):
            try:
                log_slice = record.decode(part.value, part.headers)
                for batch in self._builder.build_in_parts(log_slice, now_ns, None, part_bytes, written_ns):
                    batch.part_headers = {file.identity: part.headers for file in log_slice.files}
                    yield batch
            except RecordError as error:
                yield DocumentBatch(invalid=[(part, str(error))])
            except MemoryError:
                raise
            except Exception as error:  # noqa: BLE001 - every worker would fail on the part again
                yield DocumentBatch(invalid=[(part, _describe_internal(error))])

    def _build_third_party(
        self, value: bytes, origin: KafkaPosition, now_ns: int, part_bytes: int, written_ns: int
    ) -> Iterator[DocumentBatch]:
        """Yield the batches of one or more slices: each JSON line is a slice."""
        for log_slice in third_party.make_slices(value, origin, self._grouping):
            extra_fields = origin.document_fields()
            yield from self._builder.build_in_parts(log_slice, now_ns, extra_fields, part_bytes, written_ns)


def _group(batches: Iterable[DocumentBatch], part_bytes: int) -> Iterator[DocumentBatch]:
    """Merge batches into parts of about this size; yield at least one."""
    grouped, size = list[DocumentBatch](), 0
    for batch in batches:
        if grouped and size + batch.size > part_bytes:
            yield merge(grouped)
            grouped, size = [], 0
        grouped.append(batch)
        size += batch.size
    yield grouped[0] if len(grouped) == 1 else merge(grouped)


def _describe_internal(error: Exception) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    location = f"{frame.filename.rpartition('/')[2]}:{frame.lineno}"
    return f"internal error of crisp, please report: {error!r} in {location}"
