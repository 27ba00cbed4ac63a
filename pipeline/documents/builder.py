"""Build ECS documents from slices and gaps, serialised as JSON. Pure: the caller passes the time of indexing."""

from collections.abc import Iterator

from pipeline.config.settings import DocumentSettings
from pipeline.contract import gap
from pipeline.contract.gap import GapRecord
from pipeline.contract.json_types import JsonObject
from pipeline.contract.record import LogSlice
from pipeline.documents import container_fields
from pipeline.documents.batch import DocumentBatch
from pipeline.documents.container_context import ContainerContext, json_fragment
from pipeline.documents.event_reader import NO_OWN_FIELDS
from pipeline.documents.slice_builder import UNLIMITED, SliceBuilder
from pipeline.documents.target import Targets
from pipeline.parsing import timestamp
from pipeline.rules.redaction.redaction import Redaction
from pipeline.rules.ruleset import Ruleset

_MAX_CONTAINERS = 4096
_CONTEXTS_MAX_BYTES = 64 * 1024 * 1024
_CONTEXT_BYTES = 4 * 1024  # about, besides the metadata
_METADATA_COPIES = 8  # about: as a key, as fields, and in a suffix for each set of service fields that lines have


class DocumentBuilder:
    """Builds documents from slices. Caches a bounded number of container contexts."""

    def __init__(self, settings: DocumentSettings, rules: Ruleset | None = None) -> None:
        self._settings = settings
        self._contexts: dict[bytes, ContainerContext] = {}
        self._contexts_size = 0  # about, in bytes
        self._rules = rules
        self._redaction = Redaction(settings.redact) if settings.redact else None

    def build(self, log_slice: LogSlice, now_ns: int, extra_fields: JsonObject | None = None) -> DocumentBatch:
        """Return the documents of a slice, each with `extra_fields`. Raises RecordError for invalid metadata."""
        (batch,) = self.build_in_parts(log_slice, now_ns, extra_fields)
        return batch

    def build_in_parts(
        self,
        log_slice: LogSlice,
        now_ns: int,
        extra_fields: JsonObject | None = None,
        part_bytes: int = UNLIMITED,
        written_ns: int = 0,
    ) -> Iterator[DocumentBatch]:
        """Return the documents in parts of about this size, built one by one.

        `written_ns` is when the slice was written to Kafka, by which its lines' age is judged; 0: now.
        """
        times = {
            "event.created": timestamp.format_utc(log_slice.read_at),
            "event.ingested": timestamp.format_utc(now_ns),
        }
        context = self._get_context(log_slice.pod)
        targets = Targets(log_slice.files, written_ns or now_ns, self._settings)
        return SliceBuilder(log_slice, context, self._redaction, targets, {**times, **(extra_fields or {})}).build(
            part_bytes
        )

    def build_gap(self, gap_record: GapRecord, now_ns: int, written_ns: int = 0) -> DocumentBatch:
        """Return the document of a gap, which sorts at the gap's offset. Raises RecordError for invalid metadata."""
        lost, context = gap_record.gap, self._get_context(gap_record.pod)
        runtime = timestamp.format_utc(lost.until or lost.since or gap_record.read_at)
        targets = Targets(gap_record.files, written_ns or now_ns, self._settings)
        index, _, _, late = targets.get(context.route, 0, runtime[:10].encode())
        fields = {
            "@timestamp": runtime,
            "message": gap.message(lost),
            "event.kind": "pipeline_error",
            "event.created": timestamp.format_utc(gap_record.read_at),
            "event.ingested": timestamp.format_utc(now_ns),
            "log.level": "warn",
            "log.flags": ["gap", late] if late else ["gap"],
            "log.offset": lost.offset,
            "log.file.path": lost.path or None,
            "crisp.gap.bytes": lost.size,
            "crisp.gap.records": lost.records,
            "crisp.gap.reason": lost.reason,
            "crisp.gap.since": timestamp.format_utc(lost.since) if lost.since else None,
            "crisp.gap.until": timestamp.format_utc(lost.until) if lost.until else None,
        }
        own = json_fragment({name: value for name, value in fields.items() if value is not None})
        source = b"{%b,%b}" % (own, context.suffix(NO_OWN_FIELDS))
        return DocumentBatch([index], [gap.document_id(lost).encode()], [source])

    def _get_context(self, pod: bytes) -> ContainerContext:
        context = self._contexts.get(pod)
        if context is None:
            size = _CONTEXT_BYTES + _METADATA_COPIES * len(pod)
            if len(self._contexts) >= _MAX_CONTAINERS or self._contexts_size + size > _CONTEXTS_MAX_BYTES:
                self._clear_contexts()
            container = container_fields.parse(pod, self._settings)
            if self._rules:
                container.constant["crisp.rules"] = self._rules.digest
            context = ContainerContext(container, self._settings, self._rules)
            self._contexts[pod] = context
            self._contexts_size += size
        return context

    def _clear_contexts(self) -> None:
        self._contexts.clear()
        self._contexts_size = 0

    def set_rules(self, rules: Ruleset | None) -> None:
        """Replace the rules for all later slices."""
        self._rules = rules
        self._clear_contexts()

    @property
    def redacts(self) -> bool:
        """Whether the setting or a rule redacts anything."""
        return self._redaction is not None or (self._rules is not None and self._rules.redacts)

    def redact(self, raw: bytes) -> bytes:
        """Mask secrets in raw bytes with stars: those of the setting, and of every rule, conditional or not."""
        raw = self._redaction.mask_bytes(raw) if self._redaction else raw
        return self._rules.mask_bytes(raw) if self._rules else raw
