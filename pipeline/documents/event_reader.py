"""Parse one event into the first part of its document. Pure.

Two paths produce the same bytes. The general path builds a dict of fields, which rules can change, and serialises it.
The fast path serves most lines: complete, of the current day, with nothing to change. It copies a JSON body verbatim
if parsing shows that its fields are document fields and that none occurs twice; text in no supported format becomes a
message with its time.
"""

import re
from dataclasses import replace

import orjson

from pipeline.config.settings import DocumentSettings
from pipeline.contract import cri
from pipeline.contract.json_types import JsonObject
from pipeline.documents.container_fields import ContainerFields
from pipeline.grouping.event import MULTILINE, NUL_BYTES, PARTIAL, SPLIT, UNPARSED, Event
from pipeline.parsing import ansi, exception, health_probe, timestamp
from pipeline.parsing.json import flatten, json_body
from pipeline.parsing.text import text_formats

PROBE_RULE = "health probe"
EXCLUDED_RULE = "pod excludes the stream"
FLAGS = (
    (PARTIAL, "partial"),
    (MULTILINE, "multiline"),
    (SPLIT, "split"),
    (UNPARSED, "unparsed"),
    (NUL_BYTES, "nul_bytes"),
)
DAY_NS = 86400 * 10**9

OwnFields = frozenset[str]
"""Names of the service fields that a line sets itself."""

NO_OWN_FIELDS: OwnFields = frozenset()
_SERVICE_NAME: OwnFields = frozenset({"service.name"})  # the only one in a text format
ReadEvent = tuple[bytes, bytes, OwnFields, str]
"""The serialised fields without the closing brace; the name of the field for the runtime's time, up to its value; the
service fields among them; the rule that drops the event."""

_RUNTIME = b',"@timestamp":"'
_IOTIME = b',"log.iotime":"'
BLANKS = b" \t"
_APPLICATION_TIME = "app.@timestamp"


class EventReader:
    """Reads the events of one container with its parser; `auto` parses JSON bodies and every text format."""

    def __init__(self, container: ContainerFields, settings: DocumentSettings) -> None:
        self._parses_json = container.parser in {"auto", "json"}
        self._parse_text = text_formats.PARSERS[container.parser]
        self._field_limit = settings.field_limit
        self._strip_ansi = settings.ansi == "strip"
        self._probe_paths = frozenset(settings.health_paths)
        self._window_ns = int(settings.application_time_window_seconds * 1e9)
        self._window_covers_day = self._window_ns >= DAY_NS
        self._fractions = _MILLISECOND_SUFFIXES if self._window_covers_day else frozenset[str]()

    def read(self, event: Event, time: bytes, day: str, late: str) -> ReadEvent:
        """Read an event; `time` is the runtime's time in UTC, `day` its date (YYYY-MM-DD), `late` its flag."""
        content = event[5]
        if event[6] or late or self._strip_ansi:
            fields = self.read_fields(event)
            rule = self.probe_rule(fields)
            return *self.serialize(fields, time, day, late=late), rule
        body = content.lstrip(BLANKS)  # a JSON object may follow blanks
        own = NO_OWN_FIELDS
        if body[:1] == b"{" and self._parses_json and (parsed_body := json_body.parse(body, self._field_limit)):
            fields, verbatim, own = parsed_body
            if verbatim:
                moment = fields.get("@timestamp")
                if moment is None:
                    return body[:-1], _RUNTIME, own, ""
                if type(moment) is str and _day_by_second.get(moment[:19]) == day and moment[19:] in self._fractions:
                    return body[:-1], _IOTIME, own, ""
            elif fields.get("message") is None:
                fields["message"] = content.decode("utf-8", "replace")
        else:
            message = content.decode("utf-8", "replace")
            parsed = self._parse_text(message)
            if parsed is None:
                return orjson.dumps({"message": message})[:-1], _RUNTIME, NO_OWN_FIELDS, ""
            fields = parsed
            fields["message"] = message
            own = _SERVICE_NAME if "service.name" in fields else NO_OWN_FIELDS
        if "url.path" in fields and health_probe.is_probe(fields, self._probe_paths):
            return b"", b"", own, PROBE_RULE
        name = self._set_timestamp(fields, time, day)
        return orjson.dumps(fields)[:-1], name, own, ""

    def read_fields(self, event: Event) -> JsonObject:
        """Read an event into fields, to change before `serialize`; `@timestamp` only if the line has a time."""
        _, _, _, _, stream, content, flags, part = event
        body = content.lstrip(BLANKS)  # a JSON object may follow blanks
        fields = (
            json_body.parse_fields(body, self._field_limit)
            if body[:1] == b"{" and self._parses_json and not flags & ~(MULTILINE | NUL_BYTES)
            else None
        )
        message = content.decode("utf-8", "replace")
        if fields is None:
            fields = self._parse_text(message) or {}
            fields["message"] = message
        elif fields.get("message") is None:
            fields["message"] = message
        if self._strip_ansi:
            fields["message"] = ansi.strip(fields["message"])
        if stream:
            fields["log.iostream"] = stream.decode()
        if flags:
            _add_flags(fields, flags, part)
        return fields

    def probe_rule(self, fields: JsonObject) -> str:
        """Return the name of the built-in rule if it drops the event, else an empty string."""
        return PROBE_RULE if "url.path" in fields and health_probe.is_probe(fields, self._probe_paths) else ""

    def serialize(self, fields: JsonObject, time: bytes, day: str, *, late: str) -> tuple[bytes, bytes, OwnFields]:
        """Serialise the fields, except the stream, which is in the document's suffix.

        Returns the first three parts of a `ReadEvent`.
        """
        name = self._set_timestamp(fields, time, day)
        if late:
            fields["log.flags"] = [*fields.get("log.flags", ()), late]
        fields.pop("log.iostream", None)
        return orjson.dumps(fields)[:-1], name if fields else name[1:], json_body.SERVICE_FIELDS.intersection(fields)

    def _set_timestamp(self, fields: JsonObject, time: bytes, day: str) -> bytes:
        """Set `@timestamp` to the line's own time if it is valid and near the runtime's, else to the runtime's.

        Returns the name of the field for the runtime's time.
        """
        own = fields.get("@timestamp")
        if own is None:
            fields.pop("@timestamp", None)
            return _RUNTIME
        if type(own) is str and self._window_covers_day and self._is_same_day(own, day):
            return _IOTIME
        moment = timestamp.parse(own)
        if moment is not None and abs(moment - (cri.nanoseconds(time) or 0)) <= self._window_ns:
            fields["@timestamp"] = timestamp.format_utc(moment)
            return _IOTIME
        if _APPLICATION_TIME in fields:
            others = fields[_APPLICATION_TIME]
            fields[_APPLICATION_TIME] = [*map(_to_text, others if isinstance(others, list) else [others])]
        flatten.append_value(fields, _APPLICATION_TIME, _to_text(own))
        del fields["@timestamp"]
        return _RUNTIME

    @staticmethod
    def _is_same_day(own: str, day: str) -> bool:
        """Check the common case without arithmetic: a time on the runtime's day, in the output format."""
        if own[:10] != day or (own[19:] not in _MILLISECOND_SUFFIXES and _FRACTION_SUFFIX.fullmatch(own, 19) is None):
            return False
        return _day_by_second.get(own[:19]) == day or _is_valid_second(own[:19])


class PerStreamEventReader(EventReader):
    """Reads the events of a container that has a parser per stream."""

    def __init__(self, container: ContainerFields, settings: DocumentSettings) -> None:
        super().__init__(container, settings)
        self._by_stream = {
            stream: EventReader(replace(container, parser=parser), settings)
            for stream, parser in container.stream_parsers.items()
        }

    def read(self, event: Event, time: bytes, day: str, late: str) -> ReadEvent:
        """Read an event with the reader of its stream if there is one."""
        reader = self._by_stream.get(event[4])
        return reader.read(event, time, day, late) if reader else super().read(event, time, day, late)

    def read_fields(self, event: Event) -> JsonObject:
        """Read an event with the reader of its stream if there is one."""
        reader = self._by_stream.get(event[4])
        return reader.read_fields(event) if reader else super().read_fields(event)


def make_reader(container: ContainerFields, settings: DocumentSettings) -> EventReader:
    """Return the event reader of a container."""
    return PerStreamEventReader(container, settings) if container.stream_parsers else EventReader(container, settings)


def _to_text(value: object) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


_MILLISECOND_SUFFIXES = frozenset(f".{number:03d}Z" for number in range(1000)) | {"Z"}
_FRACTION_SUFFIX = re.compile(r"\.\d{1,9}Z", re.ASCII)
_day_by_second: dict[str, str] = {}
_MAX_CACHED_SECONDS = 10_000


def _is_valid_second(text: str) -> bool:
    """Return whether `text` is a valid date and time to the second; cached, since many lines share a second."""
    if cri.nanoseconds(text.encode() + b"Z") is None:
        return False
    if len(_day_by_second) >= _MAX_CACHED_SECONDS:
        _day_by_second.clear()
    _day_by_second[text] = text[:10]
    return True


def _add_flags(fields: JsonObject, flags: int, part: int) -> None:
    fields["log.flags"] = [name for bit, name in FLAGS if flags & bit]
    if part:
        fields["crisp.part"] = part
    if flags & MULTILINE and "error.stack_trace" not in fields:
        error = exception.from_trace(fields["message"])
        if error is not None:
            exception.add_error(fields, error)
            fields.setdefault("error.stack_trace", fields["message"])
