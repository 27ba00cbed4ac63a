"""Events into documents, ready for a bulk request. Pure: the time of indexing is handed in.

What is the same for all lines of a slice is serialised once and appended to each document. Every value that came
from a log passes the serialiser; names that the pipeline sets are never taken from a log (`jsonbody` moves them
aside), so no document can have a key twice.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from pipeline.config import routes
from pipeline.config.settings import Settings
from pipeline.contract import cri, gap
from pipeline.contract.gap import GapRecord
from pipeline.contract.record import UNKNOWN_POSITION, Headers, KafkaPosition, LogSlice, SourceFile
from pipeline.documents import container_fields, event_reader
from pipeline.documents.container_fields import ContainerFields
from pipeline.documents.event_reader import EXCLUDED_RULE, NO_OWN_FIELDS, OwnFields
from pipeline.grouping.event import Event
from pipeline.grouping.grouper import group_slice
from pipeline.parsing import timestamp
from pipeline.rules.redaction import Redaction
from pipeline.rules.ruleset import Ruleset

_MAX_CONTAINERS = 4096
NO_LINES: frozenset[tuple[int, int]] = frozenset()


@dataclass(slots=True)
class DocumentBatch:
    """The documents of one slice, each as it goes into a bulk body: action and source, a line each.

    `size` is theirs in bytes. `lengths` has, for events of several lines, the raw bytes by the document's number:
    should such a document be there already, they tell whether it is as long as ours. `indices` are those that the
    actions name; `dropped` counts events by the rule that dropped them, `faults` those that a rule's hook failed on.
    `origin` and `headers` are the raw record's, for a dead letter to tell.
    """

    documents: list[bytes]
    size: int
    indices: frozenset[str]
    lengths: dict[int, int]
    dropped: Counter[str]
    origin: KafkaPosition = UNKNOWN_POSITION
    headers: Headers = field(default_factory=list)
    hook_errors: Counter[str] = field(default_factory=Counter)


def merge(batches: list[DocumentBatch]) -> DocumentBatch:
    """Several parcels as one, settled together."""
    whole = DocumentBatch([], 0, frozenset(), {}, Counter())
    for parcel in batches:
        whole.lengths |= {len(whole.documents) + number: length for number, length in parcel.lengths.items()}
        whole.documents += parcel.documents
        whole.size += parcel.size
        whole.indices |= parcel.indices
        whole.dropped += parcel.dropped
        whole.hook_errors += parcel.hook_errors
    return whole


class _ContainerContext:
    """A container met before: how its lines are read, what is left of the rules for it, and what is known of it."""

    __slots__ = ("_container", "_suffixes", "compiled_rules", "excluded_streams", "reader", "route")

    def __init__(self, container: ContainerFields, settings: Settings, rules: Ruleset | None) -> None:
        self.reader = event_reader.make_reader(container, settings)
        self.excluded_streams = container.excluded_streams
        self.route = container.route
        self.compiled_rules = rules.compile_for({**container.constant, **container.service_defaults}) if rules else None
        self._container = container
        self._suffixes: dict[OwnFields, bytes] = {}

    def suffix(self, own: OwnFields) -> bytes:
        """What is known of the container, serialised, but for the service's fields that a line has of its own."""
        if own not in self._suffixes:
            service = {name: value for name, value in self._container.service_defaults.items() if name not in own}
            self._suffixes[own] = _json_fragment({**self._container.constant, **service})
        return self._suffixes[own]


class _Suffixes(dict[tuple[int, bytes, OwnFields], bytes]):
    """The last part of a document, by file, stream, and what the line has of its own."""

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
        self[key] = end = b"%b,%b" % (_json_fragment(fields), self._context.suffix(own))
        return end


class DocumentBuilder:
    """Turns slices into documents. Keeps, in bounds, what it knows of containers and days."""

    def __init__(self, settings: Settings, rules: Ruleset | None = None) -> None:
        self._settings = settings
        self._contexts: dict[bytes, _ContainerContext] = {}
        self._rules = rules
        self._redaction = Redaction(settings.redact.split()) if settings.redact else None

    def build(self, log_slice: LogSlice, now_ns: int, extra_fields: dict[str, Any] | None = None) -> DocumentBatch:
        """The documents of a slice, each with the fields `beside`. Raises RecordError for broken metadata."""
        known, redaction = self._get_context(log_slice.pod), self._redaction
        created = timestamp.format_utc(log_slice.read_at)
        common = {"event.created": created, "event.ingested": timestamp.format_utc(now_ns), **(extra_fields or {})}
        ends = _Suffixes(log_slice.files, known, common)
        made: list[bytes] = []
        lengths: dict[int, int] = {}
        dropped: Counter[str] = Counter()
        faults: Counter[str] = Counter()
        routed = _ActionsByRoute(log_slice.files, now_ns, self._settings)
        actions = routed[known.route]
        events = group_slice(log_slice)
        key_lines = redaction.find_key_lines(log_slice.value, events) if redaction is not None else NO_LINES
        if known.excluded_streams:
            events = _drop_excluded(events, known.excluded_streams, dropped)
        ruled = known.compiled_rules is not None
        hooked = known.compiled_rules is not None and known.compiled_rules.has_hooks
        read = known.reader.read
        for event in events:
            file, offset, length, time, stream, _, flags, _ = event
            if time[-1:] != b"Z":
                time = self._to_utc(time, created)
            secret = redaction is not None and redaction.may_contain(event, key_lines)
            if not (ruled or secret):
                action, day, late = actions[file, time[:10]]
                head, name, own, rule = read(event, time, day, late)
            else:
                fields, rule, route = self._apply_rules(event, log_slice, known, faults)
                if not rule:
                    if redaction is not None and (secret or hooked):
                        redaction.redact_event(fields, event, key_lines)
                    action, day, late = routed[route or known.route][file, time[:10]]
                    head, name, own = known.reader.serialize(fields, time, day, late=late)
            if rule:
                dropped[rule] += 1
                continue
            if flags:
                lengths[len(made)] = length
            made.append(
                b'%b%010x"}}\n%b%b%b","log.offset":%d,"log.length":%d,%b}\n'
                % (action, offset, head, name, time, offset, length, ends[file, stream, own])
            )
        indices = routed.indices() if made else frozenset()
        return DocumentBatch(made, sum(map(len, made)), indices, lengths, dropped, hook_errors=faults)

    def build_gap(self, gap_record: GapRecord, now_ns: int) -> DocumentBatch:
        """The one document of a gap, at its place among the container's. Raises RecordError for broken metadata."""
        lost, known = gap_record.gap, self._get_context(gap_record.pod)
        runtime = timestamp.format_utc(lost.until or lost.since or gap_record.read_at)
        actions = _ActionLines(gap_record.files, now_ns, self._settings, known.route)
        fields = {
            "@timestamp": runtime,
            "message": gap.message(lost),
            "event.kind": "pipeline_error",
            "event.created": timestamp.format_utc(gap_record.read_at),
            "event.ingested": timestamp.format_utc(now_ns),
            "log.level": "warn",
            "log.flags": ["gap", "late"] if runtime[:10] < actions.oldest_day else ["gap"],
            "log.offset": lost.offset,
            "log.file.path": lost.path or None,
            "crisp.gap.bytes": lost.size,
            "crisp.gap.records": lost.records,
            "crisp.gap.reason": lost.reason,
            "crisp.gap.since": timestamp.format_utc(lost.since) if lost.since else None,
            "crisp.gap.until": timestamp.format_utc(lost.until) if lost.until else None,
        }
        start = actions[0, runtime[:10].encode()][0] + gap.document_id(lost).removeprefix(f"{lost.identity}-").encode()
        own = _json_fragment({name: value for name, value in fields.items() if value is not None})
        made = b'%b"}}\n{%b,%b}\n' % (start, own, known.suffix(NO_OWN_FIELDS))
        return DocumentBatch([made], len(made), frozenset(actions.indices), {}, Counter())

    def _apply_rules(
        self, event: Event, log_slice: LogSlice, context: _ContainerContext, hook_errors: Counter[str]
    ) -> tuple[dict[str, Any], str, str]:
        """An event's fields as the rules leave them, the rule that drops it, and the route that they choose."""
        ruling, reader = context.compiled_rules, context.reader
        if ruling is None:
            fields = reader.read_fields(event)
            return fields, reader.probe_rule(fields), ""
        if ruling.drop_all_rule:
            return {}, ruling.drop_all_rule, ""
        fields = reader.read_fields(event)
        case = ruling.apply(fields, log_slice.files[event[0]].identity, event[1])
        hook_errors.update(case.failed_hooks)
        return fields, case.dropped_by or ("" if case.kept else reader.probe_rule(fields)), case.route

    @staticmethod
    def _to_utc(time: bytes, created: str) -> bytes:
        """The runtime's time in UTC; when it was read, for a line that has no time and none before it."""
        return (cri.utc(time) if time else created).encode()

    def _get_context(self, pod: bytes) -> _ContainerContext:
        known = self._contexts.get(pod)
        if known is None:
            if len(self._contexts) >= _MAX_CONTAINERS:
                self._contexts.clear()
            read = container_fields.parse(pod, self._settings)
            if self._rules:
                read.constant["crisp.rules"] = self._rules.digest
            known = _ContainerContext(read, self._settings, self._rules)
            self._contexts[pod] = known
        return known

    def set_rules(self, rules: Ruleset | None) -> None:
        """From now on these rules."""
        self._rules = rules
        self._contexts.clear()

    def redact(self, raw: bytes) -> bytes:
        """Raw bytes with stars for secrets: those of the setting, and those of any rule, whatever its conditions."""
        raw = self._redaction.mask_bytes(raw) if self._redaction else raw
        return self._rules.mask_bytes(raw) if self._rules else raw


ActionLine = tuple[bytes, str, bool]
"""An action line up to the offset, the day (YYYY-MM-DD), and whether that is before the retention."""


class _ActionLines(dict[tuple[int, bytes], ActionLine]):
    """By file and day of the runtime's time in UTC.

    A day before `oldest`, when the retention of the route begins, goes to one index for all such.
    """

    def __init__(self, files: tuple[SourceFile, ...], now_ns: int, settings: Settings, route: str) -> None:
        super().__init__()
        self._files = files
        self._index_prefix = settings.index_prefix
        self._route_prefix = f"{route}." if route else ""
        self.indices: set[str] = set()
        days = routes.parse(settings.routes)[route] if route else settings.retention_days
        self.oldest_day = (datetime.fromtimestamp(now_ns / 1e9, UTC) - timedelta(days=days)).strftime("%Y-%m-%d")

    def __missing__(self, key: tuple[int, bytes]) -> ActionLine:
        file, day = key[0], key[1].decode()
        late = day < self.oldest_day
        index = f"{self._index_prefix}-{'late' if late else self._route_prefix + day.replace('-', '.')}"
        self.indices.add(index)
        action = f'{{"create":{{"_index":"{index}","_id":"{self._files[file].identity}-'.encode()
        self[key] = found = (action, day, late)
        return found


class _ActionsByRoute(dict[str, _ActionLines]):
    """The action lines by route; empty is the common one."""

    def __init__(self, files: tuple[SourceFile, ...], now_ns: int, settings: Settings) -> None:
        super().__init__()
        self._arguments = (files, now_ns, settings)

    def __missing__(self, route: str) -> _ActionLines:
        self[route] = actions = _ActionLines(*self._arguments, route)
        return actions

    def indices(self) -> frozenset[str]:
        """The indices that the actions name."""
        return frozenset().union(*(actions.indices for actions in self.values()))


def _drop_excluded(events: list[Event], excluded: frozenset[bytes], dropped: Counter[str]) -> list[Event]:
    """The events of other streams than the excluded ones, which are counted."""
    kept = [event for event in events if event[4] not in excluded]
    if len(kept) < len(events):
        dropped[EXCLUDED_RULE] += len(events) - len(kept)
    return kept


def _json_fragment(fields: dict[str, Any]) -> bytes:
    """Fields as JSON without the braces, to be appended to a document."""
    return orjson.dumps(fields)[1:-1]
