"""Events into documents, ready for a bulk request. Pure: the time of indexing is handed in.

What is the same for all lines of a slice is serialised once and appended to each document. Every value that came
from a log passes the serialiser; names that the pipeline sets are never taken from a log (`jsonbody` moves them
aside), so no document can have a key twice.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import orjson

from pipeline import container, cri, gap, routes
from pipeline.container import Container
from pipeline.gap import GapRecord
from pipeline.grouping import MULTILINE, PARTIAL, SPLIT, UNPARSED, Event, events_of
from pipeline.message import apptime, error, jsonbody, probe, textformat
from pipeline.record import UNKNOWN, Headers, LogSlice, Origin, SourceFile
from pipeline.rules.redaction import Redaction
from pipeline.rules.ruleset import Ruleset, Ruling
from pipeline.settings import Settings

PROBE_RULE = "health probe"
FLAGS = ((PARTIAL, "partial"), (MULTILINE, "multiline"), (SPLIT, "split"), (UNPARSED, "unparsed"))
_CONTAINERS = 4096
DAY_NS = 86400 * 10**9
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


class _Tails(dict[tuple[str, ...], bytes]):
    """What is known of a container, serialised: by the names of the service's fields that a line has of its own."""

    def __init__(self, container: Container) -> None:
        super().__init__()
        self._container = container

    def __missing__(self, own: tuple[str, ...]) -> bytes:
        service = {name: value for name, value in self._container.service.items() if name not in own}
        self[own] = tail = _fragment({**self._container.constant, **service})
        return tail


class _Known:
    """A container met before, and what is left of the rules for it."""

    __slots__ = ("route", "ruling", "service", "tails")

    def __init__(self, container: Container, rules: Ruleset | None) -> None:
        self.route = container.route
        self.ruling = rules.of({**container.constant, **container.service}) if rules else None
        self.service = tuple(container.service)
        self.tails = _Tails(container)


class Documents:
    """Turns slices into documents. Keeps, in bounds, what it knows of containers and days."""

    def __init__(self, settings: Settings, rules: Ruleset | None = None) -> None:
        self._settings = settings
        self._known: dict[bytes, _Known] = {}
        self._rules = rules
        self._redaction = Redaction(settings.redact.split()) if settings.redact else None
        self._probe_paths = frozenset(settings.health_paths.split())
        self._window = int(settings.own_time_window_seconds * 1e9)

    def of(self, part: LogSlice, now_ns: int, beside: dict[str, Any] | None = None) -> Parcel:
        """The documents of a slice, each with the fields `beside`. Raises RecordError for broken metadata."""
        known = self._container(part.pod)
        created, ingested = apptime.text(part.read), apptime.text(now_ns)
        tails = self._tails(part, {"event.created": created, "event.ingested": ingested, **(beside or {})})
        made: list[bytes] = []
        lengths: dict[int, int] = {}
        dropped: Counter[str] = Counter()
        faults: Counter[str] = Counter()
        ruling, redaction = known.ruling, self._redaction
        routed = _Routed(part.files, now_ns, self._settings)
        common = routed[known.route]
        events = events_of(part)
        key_lines = redaction.key_lines(part.value, events) if redaction is not None else NO_LINES
        for event in events:
            file, offset, length, time, _, _, flags, _ = event
            if ruling is None:
                fields = self._fields(event)
                rule, actions = self._probe(fields), common
            else:
                fields, rule, route = self._judged(event, part, ruling, faults)
                actions = routed[route or known.route]
            if rule:
                dropped[rule] += 1
                continue
            if redaction is not None:
                redaction.event(fields, event, key_lines)
            runtime = time.decode() if time[-1:] == b"Z" else self._utc(time, created)
            self._time(fields, runtime)
            day = runtime[:10]
            if day < actions.oldest:
                fields["log.flags"] = [*fields.get("log.flags", ()), "late"]
            fields["log.offset"] = offset
            fields["log.length"] = length
            tail = known.tails[tuple([name for name in known.service if name in fields])]
            if flags:
                lengths[len(made)] = length
            source = orjson.dumps(fields)
            made.append(b'%b%010x"}}\n%b,%b,%b}\n' % (actions[file, day], offset, source[:-1], tails[file], tail))
        return Parcel(made, sum(map(len, made)), routed.indices(), lengths, dropped, faults=faults)

    def of_gap(self, found: GapRecord, now_ns: int) -> Parcel:
        """The one document of a gap, at its place among the container's. Raises RecordError for broken metadata."""
        lost, known = found.gap, self._container(found.pod)
        runtime = apptime.text(lost.until or lost.since or found.read)
        actions = _Actions(found.files, now_ns, self._settings, known.route)
        fields = {
            "@timestamp": runtime,
            "message": gap.message(lost),
            "event.kind": "pipeline_error",
            "event.created": apptime.text(found.read),
            "event.ingested": apptime.text(now_ns),
            "log.level": "warn",
            "log.flags": ["gap", "late"] if runtime[:10] < actions.oldest else ["gap"],
            "log.offset": lost.offset,
            "log.file.path": lost.path or None,
            "crisp.gap.bytes": lost.size,
            "crisp.gap.records": lost.records,
            "crisp.gap.reason": lost.reason,
            "crisp.gap.since": apptime.text(lost.since) if lost.since else None,
            "crisp.gap.until": apptime.text(lost.until) if lost.until else None,
        }
        start = actions[0, runtime[:10]] + gap.document_id(lost).removeprefix(f"{lost.identity}-").encode()
        own = _fragment({name: value for name, value in fields.items() if value is not None})
        made = b'%b"}}\n{%b,%b}\n' % (start, own, known.tails[()])
        return Parcel([made], len(made), frozenset(actions.indices), {}, Counter())

    @staticmethod
    def _tails(part: LogSlice, fields: dict[str, Any]) -> list[bytes]:
        """What is the same for all lines of a file in the slice, serialised."""
        return [_fragment({**fields, **({"log.file.path": file.path} if file.path else {})}) for file in part.files]

    def _judged(
        self, event: Event, part: LogSlice, ruling: Ruling, faults: Counter[str]
    ) -> tuple[dict[str, Any], str, str]:
        """An event's fields as the rules leave them, the rule that drops it, and the route that they choose."""
        if ruling.drops_all:
            return {}, ruling.drops_all, ""
        fields = self._fields(event)
        case = ruling.judge(fields, part.files[event[0]].identity, event[1])
        faults.update(case.faults)
        return fields, case.dropped or ("" if case.kept else self._probe(fields)), case.route

    @staticmethod
    def _utc(time: bytes, created: str) -> str:
        """The runtime's time in UTC; when it was read, for a line that has no time and none before it."""
        return cri.utc(time) if time else created

    def _container(self, pod: bytes) -> _Known:
        known = self._known.get(pod)
        if known is None:
            if len(self._known) >= _CONTAINERS:
                self._known.clear()
            read = container.read(pod, self._settings)
            if self._rules:
                read.constant["crisp.rules"] = self._rules.digest
            known = _Known(read, self._rules)
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

    def _probe(self, fields: dict[str, Any]) -> str:
        """The name of the built-in rule if it drops the event."""
        return PROBE_RULE if "url.path" in fields and probe.is_probe(fields, self._probe_paths) else ""

    def _fields(self, event: Event) -> dict[str, Any]:
        """What the line itself says."""
        _, _, _, _, stream, content, flags, part = event
        fields = jsonbody.fields(content, self._settings.field_limit) if content[:1] == b"{" and not flags else None
        if fields is not None:
            if fields.get("message") is None:
                fields["message"] = content.decode("utf-8", "replace")
        else:
            message = content.decode("utf-8", "replace")
            fields = textformat.fields(message) or {}
            fields["message"] = message
        if stream:
            fields["log.iostream"] = stream.decode()
        if flags:
            self._flag(fields, flags, part)
        return fields

    @staticmethod
    def _flag(fields: dict[str, Any], flags: int, part: int) -> None:
        fields["log.flags"] = [name for bit, name in FLAGS if flags & bit]
        if part:
            fields["crisp.part"] = part
        if flags & MULTILINE:
            found = error.of_trace(fields["message"])
            if found is not None:
                fields.setdefault("error.type", found[0])
                fields.setdefault("error.message", found[1])
                fields.setdefault("error.stack_trace", fields["message"])

    def _time(self, fields: dict[str, Any], runtime: str) -> None:
        """The line's own time, where it can be read and is near the runtime's, else the runtime's."""
        own = fields.get("@timestamp")
        if own is None:
            fields["@timestamp"] = runtime
        elif self._same_day(own, runtime):
            fields["log.iotime"] = runtime
        else:
            self._other_time(fields, own, runtime)

    def _same_day(self, own: Any, runtime: str) -> bool:
        """The common case, seen without any arithmetic: the runtime's day, in the spelling that we write too."""
        return (
            type(own) is str
            and own[:10] == runtime[:10]
            and self._window >= DAY_NS
            and own[19:20] == "."
            and own[-1:] == "Z"
            and len(own) <= 30
            and own[20:-1].isdecimal()
            and own.isascii()
            and _is_second(own[:19])
        )

    def _other_time(self, fields: dict[str, Any], own: Any, runtime: str) -> None:
        moment = apptime.nanoseconds(own)
        fields["@timestamp"] = runtime
        if moment is not None and abs(moment - (cri.nanoseconds(runtime.encode()) or 0)) <= self._window:
            fields["@timestamp"] = apptime.text(moment)
            fields["log.iotime"] = runtime
        else:
            fields["app.@timestamp"] = own if isinstance(own, str) else orjson.dumps(own).decode()


@lru_cache(maxsize=4096)
def _is_second(text: str) -> bool:
    return cri.nanoseconds(text.encode() + b"Z") is not None


class _Actions(dict[tuple[int, str], bytes]):
    """The action line up to the offset, by file and day (YYYY-MM-DD) of the runtime's time in UTC.

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

    def __missing__(self, key: tuple[int, str]) -> bytes:
        file, day = key
        index = f"{self._prefix}-{'late' if day < self.oldest else self._route + day.replace('-', '.')}"
        self.indices.add(index)
        action = f'{{"create":{{"_index":"{index}","_id":"{self._files[file].identity}-'.encode()
        self[key] = action
        return action


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


def _fragment(fields: dict[str, Any]) -> bytes:
    """Fields as JSON without the braces, to be appended to a document."""
    return orjson.dumps(fields)[1:-1]
