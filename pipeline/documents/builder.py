"""Build ECS documents from events, serialised as JSON. Pure: the caller passes the time of indexing.

Fields that all lines of a slice share are serialised once and appended to each document. Every value from a log goes
through the serialiser. Log lines cannot set the pipeline's own fields (`json_body` moves such names below `app.`), so
no document has a duplicate key.
"""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from pipeline.config.settings import DocumentSettings
from pipeline.contract import cri, gap
from pipeline.contract.gap import GapRecord
from pipeline.contract.record import LogSlice, SourceFile
from pipeline.documents import container_fields, event_reader
from pipeline.documents.batch import DocumentBatch
from pipeline.documents.container_fields import ContainerFields
from pipeline.documents.event_reader import EXCLUDED_RULE, NO_OWN_FIELDS, OwnFields
from pipeline.grouping.event import Event
from pipeline.grouping.grouper import group_slice
from pipeline.parsing import timestamp
from pipeline.rules.redaction import Redaction
from pipeline.rules.ruleset import Ruleset

_MAX_CONTAINERS = 4096
NO_LINES: frozenset[tuple[int, int]] = frozenset()


class _ContainerContext:
    """What is cached for a container: its event reader, the rules compiled for it, and its constant fields."""

    __slots__ = ("_container", "_suffixes", "compiled_rules", "excluded_streams", "reader", "route")

    def __init__(self, container: ContainerFields, settings: DocumentSettings, rules: Ruleset | None) -> None:
        self.reader = event_reader.make_reader(container, settings)
        self.excluded_streams = container.excluded_streams
        self.route = container.route
        self.compiled_rules = rules.compile_for({**container.constant, **container.service_defaults}) if rules else None
        self._container = container
        self._suffixes: dict[OwnFields, bytes] = {}

    def suffix(self, own: OwnFields) -> bytes:
        """The container's fields, serialised, without the service fields that a line sets itself."""
        if own not in self._suffixes:
            service = {name: value for name, value in self._container.service_defaults.items() if name not in own}
            self._suffixes[own] = _json_fragment({**self._container.constant, **service})
        return self._suffixes[own]


class _Suffixes(dict[tuple[int, bytes, OwnFields], bytes]):
    """The last part of a document, by file number, stream, and the service fields of the line."""

    def __init__(
        self, files: tuple[SourceFile, ...], context: _ContainerContext, common_fields: dict[str, Any]
    ) -> None:
        super().__init__()
        self._files = files
        self._context = context
        self._common_fields = common_fields

    def __missing__(self, key: tuple[int, bytes, OwnFields]) -> bytes:
        file, stream, own = key
        fields = {"log.iostream": stream.decode(), "log.file.path": self._files[file].path, **self._common_fields}
        fields = {name: value for name, value in fields.items() if value not in ("", None)}
        self[key] = suffix = b"%b,%b" % (_json_fragment(fields), self._context.suffix(own))
        return suffix


class DocumentBuilder:
    """Builds documents from slices. Caches a bounded number of container contexts."""

    def __init__(self, settings: DocumentSettings, rules: Ruleset | None = None) -> None:
        self._settings = settings
        self._contexts: dict[bytes, _ContainerContext] = {}
        self._rules = rules
        self._redaction = Redaction(settings.redact) if settings.redact else None

    def build(self, log_slice: LogSlice, now_ns: int, extra_fields: dict[str, Any] | None = None) -> DocumentBatch:
        """Return the documents of a slice, each with `extra_fields`. Raises RecordError for invalid metadata."""
        context, redaction = self._get_context(log_slice.pod), self._redaction
        created = timestamp.format_utc(log_slice.read_at)
        common = {"event.created": created, "event.ingested": timestamp.format_utc(now_ns), **(extra_fields or {})}
        suffixes = _Suffixes(log_slice.files, context, common)
        indices: list[str] = []
        ids: list[bytes] = []
        sources: list[bytes] = []
        lengths: dict[int, int] = {}
        dropped: Counter[str] = Counter()
        hook_errors: Counter[str] = Counter()
        by_route = _TargetsByRoute(log_slice.files, now_ns, self._settings)
        targets = by_route[context.route]
        events = group_slice(log_slice)
        key_lines = redaction.find_key_lines(log_slice.value, events) if redaction is not None else NO_LINES
        if context.excluded_streams:
            events = _drop_excluded(events, context.excluded_streams, dropped)
        has_rules = context.compiled_rules is not None
        has_hooks = context.compiled_rules is not None and context.compiled_rules.has_hooks
        read = context.reader.read
        last_file, last_day = -1, b"no day"  # one look-up of the target serves many lines
        for event in events:
            file, offset, length, time, stream, _, flags, _ = event
            if time[-1:] != b"Z":
                time = self._to_utc(time, created)
            secret = redaction is not None and redaction.may_contain(event, key_lines)
            if not (has_rules or secret):
                if file != last_file or not time.startswith(last_day):
                    last_file, last_day = file, time[:10]
                    target = targets[last_file, last_day]
                index, id_prefix, day, late = target
                head, name, own, rule = read(event, time, day, late)
            else:
                fields, rule, route = self._apply_rules(event, log_slice, context, hook_errors)
                if not rule:
                    if redaction is not None and (secret or has_hooks):
                        redaction.redact_event(fields, event, key_lines)
                    index, id_prefix, day, late = by_route[route or context.route][file, time[:10]]
                    head, name, own = context.reader.serialize(fields, time, day, late=late)
            if rule:
                dropped[rule] += 1
                continue
            if flags:
                lengths[len(ids)] = length
            indices.append(index)
            ids.append(b"%b%010x" % (id_prefix, offset))
            sources.append(
                b'%b%b%b","log.offset":%d,"log.length":%d,%b}'
                % (head, name, time, offset, length, suffixes[file, stream, own])
            )
        return DocumentBatch(indices, ids, sources, lengths, dropped, hook_errors)

    def build_gap(self, gap_record: GapRecord, now_ns: int) -> DocumentBatch:
        """Return the document of a gap, which sorts at the gap's offset. Raises RecordError for invalid metadata."""
        lost, context = gap_record.gap, self._get_context(gap_record.pod)
        runtime = timestamp.format_utc(lost.until or lost.since or gap_record.read_at)
        targets = _Targets(gap_record.files, now_ns, self._settings, context.route)
        fields = {
            "@timestamp": runtime,
            "message": gap.message(lost),
            "event.kind": "pipeline_error",
            "event.created": timestamp.format_utc(gap_record.read_at),
            "event.ingested": timestamp.format_utc(now_ns),
            "log.level": "warn",
            "log.flags": ["gap", "late"] if runtime[:10] < targets.oldest_day else ["gap"],
            "log.offset": lost.offset,
            "log.file.path": lost.path or None,
            "crisp.gap.bytes": lost.size,
            "crisp.gap.records": lost.records,
            "crisp.gap.reason": lost.reason,
            "crisp.gap.since": timestamp.format_utc(lost.since) if lost.since else None,
            "crisp.gap.until": timestamp.format_utc(lost.until) if lost.until else None,
        }
        own = _json_fragment({name: value for name, value in fields.items() if value is not None})
        source = b"{%b,%b}" % (own, context.suffix(NO_OWN_FIELDS))
        index = targets[0, runtime[:10].encode()][0]
        return DocumentBatch([index], [gap.document_id(lost).encode()], [source])

    def _apply_rules(
        self, event: Event, log_slice: LogSlice, context: _ContainerContext, hook_errors: Counter[str]
    ) -> tuple[dict[str, Any], str, str]:
        """Return an event's fields after the rules, the rule that drops it, and the route that the rules select."""
        rules, reader = context.compiled_rules, context.reader
        if rules is None:
            fields = reader.read_fields(event)
            return fields, reader.probe_rule(fields), ""
        if rules.drop_all_rule:
            return {}, rules.drop_all_rule, ""
        fields = reader.read_fields(event)
        result = rules.apply(fields, log_slice.files[event[0]].identity, event[1])
        hook_errors.update(result.failed_hooks)
        return fields, result.dropped_by or ("" if result.kept else reader.probe_rule(fields)), result.route

    @staticmethod
    def _to_utc(time: bytes, created: str) -> bytes:
        """Return the runtime's time in UTC; `created` if neither the line nor an earlier one has a time."""
        return (cri.utc(time) if time else created).encode()

    def _get_context(self, pod: bytes) -> _ContainerContext:
        context = self._contexts.get(pod)
        if context is None:
            if len(self._contexts) >= _MAX_CONTAINERS:
                self._contexts.clear()
            container = container_fields.parse(pod, self._settings)
            if self._rules:
                container.constant["crisp.rules"] = self._rules.digest
            context = _ContainerContext(container, self._settings, self._rules)
            self._contexts[pod] = context
        return context

    def set_rules(self, rules: Ruleset | None) -> None:
        """Replace the rules for all later slices."""
        self._rules = rules
        self._contexts.clear()

    def redact(self, raw: bytes) -> bytes:
        """Mask secrets in raw bytes with stars: those of the setting, and of every rule, conditional or not."""
        raw = self._redaction.mask_bytes(raw) if self._redaction else raw
        return self._rules.mask_bytes(raw) if self._rules else raw


Target = tuple[str, bytes, str, bool]
"""An index, the id up to the offset, the day (YYYY-MM-DD), and whether the day is older than the retention."""


class _Targets(dict[tuple[int, bytes], Target]):
    """Targets by file number and day of the runtime's time in UTC.

    Days before `oldest_day`, the start of the route's retention, share one index.
    """

    def __init__(self, files: tuple[SourceFile, ...], now_ns: int, settings: DocumentSettings, route: str) -> None:
        super().__init__()
        self._files = files
        self._index_prefix = settings.index_prefix
        self._route_prefix = f"{route}." if route else ""
        days = settings.routes[route] if route else settings.retention_days
        self.oldest_day = (datetime.fromtimestamp(now_ns / 1e9, UTC) - timedelta(days=days)).strftime("%Y-%m-%d")

    def __missing__(self, key: tuple[int, bytes]) -> Target:
        file, day = key[0], key[1].decode()
        late = day < self.oldest_day
        index = f"{self._index_prefix}-{'late' if late else self._route_prefix + day.replace('-', '.')}"
        self[key] = target = (index, f"{self._files[file].identity}-".encode(), day, late)
        return target


class _TargetsByRoute(dict[str, _Targets]):
    """Targets by route; the empty string is the common route."""

    def __init__(self, files: tuple[SourceFile, ...], now_ns: int, settings: DocumentSettings) -> None:
        super().__init__()
        self._arguments = (files, now_ns, settings)

    def __missing__(self, route: str) -> _Targets:
        self[route] = targets = _Targets(*self._arguments, route)
        return targets


def _drop_excluded(events: list[Event], excluded: frozenset[bytes], dropped: Counter[str]) -> list[Event]:
    """Return the events of the streams that are not excluded; count the others in `dropped`."""
    kept = [event for event in events if event[4] not in excluded]
    if len(kept) < len(events):
        dropped[EXCLUDED_RULE] += len(events) - len(kept)
    return kept


def _json_fragment(fields: dict[str, Any]) -> bytes:
    """Serialise fields as JSON without the braces, for appending to a document."""
    return orjson.dumps(fields)[1:-1]
