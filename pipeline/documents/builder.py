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
from pipeline.contract.record import UNKNOWN, Headers, LogSlice, Origin, SourceFile
from pipeline.documents import container_fields, event_reader
from pipeline.documents.container_fields import Container
from pipeline.documents.event_reader import EXCLUDED_RULE, NONE, Own
from pipeline.grouping.event import Event
from pipeline.grouping.grouper import events_of
from pipeline.parsing import timestamp
from pipeline.rules.redaction import Redaction
from pipeline.rules.ruleset import Ruleset

_CONTAINERS = 4096
NO_LINES: frozenset[tuple[int, int]] = frozenset()


@dataclass(slots=True)
class Parcel:
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
    origin: Origin = UNKNOWN
    headers: Headers = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)


def together(parcels: list[Parcel]) -> Parcel:
    """Several parcels as one, settled together."""
    whole = Parcel([], 0, frozenset(), {}, Counter())
    for parcel in parcels:
        whole.lengths |= {len(whole.documents) + number: length for number, length in parcel.lengths.items()}
        whole.documents += parcel.documents
        whole.size += parcel.size
        whole.indices |= parcel.indices
        whole.dropped += parcel.dropped
        whole.faults += parcel.faults
    return whole


class _Known:
    """A container met before: how its lines are read, what is left of the rules for it, and what is known of it."""

    __slots__ = ("_container", "_ends", "excluded", "reader", "route", "ruling")

    def __init__(self, container: Container, settings: Settings, rules: Ruleset | None) -> None:
        self.reader = event_reader.reader(container, settings)
        self.excluded = container.excluded
        self.route = container.route
        self.ruling = rules.of({**container.constant, **container.service}) if rules else None
        self._container = container
        self._ends: dict[Own, bytes] = {}

    def end(self, own: Own) -> bytes:
        """What is known of the container, serialised, but for the service's fields that a line has of its own."""
        if own not in self._ends:
            service = {name: value for name, value in self._container.service.items() if name not in own}
            self._ends[own] = _fragment({**self._container.constant, **service})
        return self._ends[own]


class _Ends(dict[tuple[int, bytes, Own], bytes]):
    """The last part of a document, by file, stream, and what the line has of its own."""

    def __init__(self, files: tuple[SourceFile, ...], known: _Known, common: dict[str, Any]) -> None:
        super().__init__()
        self._files = files
        self._known = known
        self._common = common

    def __missing__(self, key: tuple[int, bytes, Own]) -> bytes:
        file, stream, own = key
        fields = {"log.iostream": stream.decode(), "log.file.path": self._files[file].path, **self._common}
        fields = {name: value for name, value in fields.items() if value not in ("", None)}
        self[key] = end = b"%b,%b" % (_fragment(fields), self._known.end(own))
        return end


class Documents:
    """Turns slices into documents. Keeps, in bounds, what it knows of containers and days."""

    def __init__(self, settings: Settings, rules: Ruleset | None = None) -> None:
        self._settings = settings
        self._known: dict[bytes, _Known] = {}
        self._rules = rules
        self._redaction = Redaction(settings.redact.split()) if settings.redact else None

    def of(self, part: LogSlice, now_ns: int, beside: dict[str, Any] | None = None) -> Parcel:
        """The documents of a slice, each with the fields `beside`. Raises RecordError for broken metadata."""
        known, redaction = self._container(part.pod), self._redaction
        created = timestamp.text(part.read)
        common = {"event.created": created, "event.ingested": timestamp.text(now_ns), **(beside or {})}
        ends = _Ends(part.files, known, common)
        made: list[bytes] = []
        lengths: dict[int, int] = {}
        dropped: Counter[str] = Counter()
        faults: Counter[str] = Counter()
        routed = _Routed(part.files, now_ns, self._settings)
        actions = routed[known.route]
        events = events_of(part)
        key_lines = redaction.key_lines(part.value, events) if redaction is not None else NO_LINES
        if known.excluded:
            events = _kept(events, known.excluded, dropped)
        ruled = known.ruling is not None
        hooked = known.ruling is not None and known.ruling.hooked
        read = known.reader.read
        for event in events:
            file, offset, length, time, stream, _, flags, _ = event
            if time[-1:] != b"Z":
                time = self._utc(time, created)
            secret = redaction is not None and redaction.concerns(event, key_lines)
            if not (ruled or secret):
                action, day, late = actions[file, time[:10]]
                head, name, own, rule = read(event, time, day, late)
            else:
                fields, rule, route = self._judged(event, part, known, faults)
                if not rule:
                    if redaction is not None and (secret or hooked):
                        redaction.event(fields, event, key_lines)
                    action, day, late = routed[route or known.route][file, time[:10]]
                    head, name, own = known.reader.finish(fields, time, day, late=late)
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
        return Parcel(made, sum(map(len, made)), indices, lengths, dropped, faults=faults)

    def of_gap(self, found: GapRecord, now_ns: int) -> Parcel:
        """The one document of a gap, at its place among the container's. Raises RecordError for broken metadata."""
        lost, known = found.gap, self._container(found.pod)
        runtime = timestamp.text(lost.until or lost.since or found.read)
        actions = _Actions(found.files, now_ns, self._settings, known.route)
        fields = {
            "@timestamp": runtime,
            "message": gap.message(lost),
            "event.kind": "pipeline_error",
            "event.created": timestamp.text(found.read),
            "event.ingested": timestamp.text(now_ns),
            "log.level": "warn",
            "log.flags": ["gap", "late"] if runtime[:10] < actions.oldest else ["gap"],
            "log.offset": lost.offset,
            "log.file.path": lost.path or None,
            "crisp.gap.bytes": lost.size,
            "crisp.gap.records": lost.records,
            "crisp.gap.reason": lost.reason,
            "crisp.gap.since": timestamp.text(lost.since) if lost.since else None,
            "crisp.gap.until": timestamp.text(lost.until) if lost.until else None,
        }
        start = actions[0, runtime[:10].encode()][0] + gap.document_id(lost).removeprefix(f"{lost.identity}-").encode()
        own = _fragment({name: value for name, value in fields.items() if value is not None})
        made = b'%b"}}\n{%b,%b}\n' % (start, own, known.end(NONE))
        return Parcel([made], len(made), frozenset(actions.indices), {}, Counter())

    def _judged(
        self, event: Event, part: LogSlice, known: _Known, faults: Counter[str]
    ) -> tuple[dict[str, Any], str, str]:
        """An event's fields as the rules leave them, the rule that drops it, and the route that they choose."""
        ruling, reader = known.ruling, known.reader
        if ruling is None:
            fields = reader.fields(event)
            return fields, reader.probe(fields), ""
        if ruling.drops_all:
            return {}, ruling.drops_all, ""
        fields = reader.fields(event)
        case = ruling.judge(fields, part.files[event[0]].identity, event[1])
        faults.update(case.faults)
        return fields, case.dropped or ("" if case.kept else reader.probe(fields)), case.route

    @staticmethod
    def _utc(time: bytes, created: str) -> bytes:
        """The runtime's time in UTC; when it was read, for a line that has no time and none before it."""
        return (cri.utc(time) if time else created).encode()

    def _container(self, pod: bytes) -> _Known:
        known = self._known.get(pod)
        if known is None:
            if len(self._known) >= _CONTAINERS:
                self._known.clear()
            read = container_fields.read(pod, self._settings)
            if self._rules:
                read.constant["crisp.rules"] = self._rules.digest
            known = _Known(read, self._settings, self._rules)
            self._known[pod] = known
        return known

    def use(self, rules: Ruleset | None) -> None:
        """From now on these rules."""
        self._rules = rules
        self._known.clear()

    def redacted(self, raw: bytes) -> bytes:
        """Raw bytes with stars for secrets: those of the setting, and those of any rule, whatever its conditions."""
        raw = self._redaction.raw(raw) if self._redaction else raw
        return self._rules.redacted(raw) if self._rules else raw


Action = tuple[bytes, str, bool]
"""An action line up to the offset, the day (YYYY-MM-DD), and whether that is before the retention."""


class _Actions(dict[tuple[int, bytes], Action]):
    """By file and day of the runtime's time in UTC.

    A day before `oldest`, when the retention of the route begins, goes to one index for all such.
    """

    def __init__(self, files: tuple[SourceFile, ...], now_ns: int, settings: Settings, route: str) -> None:
        super().__init__()
        self._files = files
        self._prefix = settings.index_prefix
        self._route = f"{route}." if route else ""
        self.indices: set[str] = set()
        days = routes.read(settings.routes)[route] if route else settings.retention_days
        self.oldest = (datetime.fromtimestamp(now_ns / 1e9, UTC) - timedelta(days=days)).strftime("%Y-%m-%d")

    def __missing__(self, key: tuple[int, bytes]) -> Action:
        file, day = key[0], key[1].decode()
        late = day < self.oldest
        index = f"{self._prefix}-{'late' if late else self._route + day.replace('-', '.')}"
        self.indices.add(index)
        action = f'{{"create":{{"_index":"{index}","_id":"{self._files[file].identity}-'.encode()
        self[key] = found = (action, day, late)
        return found


class _Routed(dict[str, _Actions]):
    """The action lines by route; empty is the common one."""

    def __init__(self, files: tuple[SourceFile, ...], now_ns: int, settings: Settings) -> None:
        super().__init__()
        self._about = (files, now_ns, settings)

    def __missing__(self, route: str) -> _Actions:
        self[route] = actions = _Actions(*self._about, route)
        return actions

    def indices(self) -> frozenset[str]:
        """The indices that the actions name."""
        return frozenset().union(*(actions.indices for actions in self.values()))


def _kept(events: list[Event], excluded: frozenset[bytes], dropped: Counter[str]) -> list[Event]:
    """The events of other streams than the excluded ones, which are counted."""
    kept = [event for event in events if event[4] not in excluded]
    if len(kept) < len(events):
        dropped[EXCLUDED_RULE] += len(events) - len(kept)
    return kept


def _fragment(fields: dict[str, Any]) -> bytes:
    """Fields as JSON without the braces, to be appended to a document."""
    return orjson.dumps(fields)[1:-1]
